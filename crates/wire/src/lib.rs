//! libvirt's wire protocol: XDR, framing, procedure tables and the connection as a state machine.
