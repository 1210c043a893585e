//! Replies about VNC and SPICE.

use serde::Deserialize;

/// The reply of `query-vnc`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VncInfo {
    /// The server is on.
    pub enabled: bool,
    /// The address it listens on.
    #[serde(default)]
    pub host: Option<String>,
    /// The port, or the socket's path.
    #[serde(default)]
    pub service: Option<String>,
    /// `ipv4`, `ipv6`, `unix` or `vsock`.
    #[serde(default)]
    pub family: Option<String>,
    /// How clients prove themselves.
    #[serde(default)]
    pub auth: Option<String>,
    /// The clients.
    #[serde(default)]
    pub clients: Vec<VncClient>,
}

/// A client of the VNC server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VncClient {
    /// The client's address.
    pub host: String,
    /// The client's port.
    pub service: String,
    /// `ipv4`, `ipv6`, `unix` or `vsock`.
    pub family: String,
}

/// One VNC server with its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VncServer {
    /// Its id.
    pub id: String,
    /// Where it listens.
    #[serde(default)]
    pub server: Vec<VncListener>,
}

/// One address a VNC server listens on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VncListener {
    /// The address.
    pub host: String,
    /// The port, or the socket's path.
    pub service: String,
    /// `ipv4`, `ipv6`, `unix` or `vsock`.
    pub family: String,
    /// It speaks websockets.
    #[serde(default)]
    pub websocket: bool,
}

/// The reply of `query-spice`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpiceInfo {
    /// The server is on.
    pub enabled: bool,
    /// The address it listens on.
    #[serde(default)]
    pub host: Option<String>,
    /// The plain port.
    #[serde(default)]
    pub port: Option<u16>,
    /// The port with TLS.
    #[serde(default)]
    pub tls_port: Option<u16>,
    /// How clients prove themselves.
    #[serde(default)]
    pub auth: Option<String>,
}
