//! Every bound of the engine, units last.

/// How long QEMU may take to answer one command before its caller is told.
pub const QMP_REPLY_TIMEOUT_MS: u64 = 10_000;

/// How long QEMU may take to open an encrypted image: the passphrase is made slow to try on purpose.
pub const ENCRYPTED_OPEN_TIMEOUT_MS: u64 = 60_000;

/// How long a service on the system's D-Bus may take to answer: firewalld makes all its rules anew meanwhile.
pub const BUS_REPLY_TIMEOUT_MS: u64 = 25_000;

/// How long a statistics query waits for one QEMU: a hung one must not hold
/// the answer for all the others.
pub const QMP_STATS_TIMEOUT_MS: u64 = 500;

/// How long a QEMU may take from its start to its monitor's first answer.
pub const QEMU_START_TIMEOUT_MS: u64 = 60_000;

/// How long a restart waits for each QEMU found alive before it shows the
/// machine in the state last recorded.
pub const ADOPT_TIMEOUT_MS: u64 = 1_000;

/// How long QEMU may take to go after `quit` before it is killed.
pub const QUIT_TIMEOUT_MS: u64 = 5_000;

/// How long QEMU may take to go after SIGTERM before a destroy kills it.
pub const DESTROY_TERM_TIMEOUT_MS: u64 = 600;

/// How long a graceful destroy waits after SIGTERM.
pub const GRACEFUL_DESTROY_TIMEOUT_MS: u64 = 10_000;

/// How long a detach waits for the guest to let go of a device before the
/// caller is answered; the device goes when the guest lets go of it.
pub const UNPLUG_TIMEOUT_MS: u64 = 5_000;

/// How long a killed QEMU may take to be gone.
pub const KILL_TIMEOUT_MS: u64 = 15_000;

/// How long the kernel may call a control group busy whose last process has
/// ended, and how often it is asked.
pub const GROUP_BUSY_MAX_MS: u64 = 2_000;
/// See [`GROUP_BUSY_MAX_MS`].
pub const GROUP_BUSY_POLL_MS: u64 = 5;

/// How long the whole probe of a QEMU binary may take.
pub const PROBE_TIMEOUT_MS: u64 = 30_000;

/// How long the guest agent may take to answer unless the caller says otherwise.
pub const AGENT_REPLY_TIMEOUT_MS: u64 = 5_000;

/// How long a request waits for another operation on the same machine.
pub const OWNER_QUEUE_TIMEOUT_MS: u64 = 30_000;

/// Requests waiting for one machine's owner.
pub const OWNER_QUEUE_MAX: usize = 256;

/// Commands under way to one QEMU.
pub const QMP_OUTSTANDING_MAX: usize = 64;

/// News (events, its end) of one QEMU not yet taken in by its owner.
pub const QMP_NEWS_MAX: usize = 256;

/// Events kept for subscribers that are behind.
pub const EVENT_BACKLOG_MAX: usize = 4_096;

/// How long the kernel's news of devices may come in before the devices are looked at.
pub const NODE_DEVICES_SETTLE_MS: u64 = 20;

/// Bytes of a console's log before it moves to its one older file.
pub const CONSOLE_LOG_MAX_BYTES: u64 = 1024 * 1024;

/// Pieces of console output a slow viewer may be behind before it loses some.
pub const CONSOLE_VIEWER_MAX_PIECES: usize = 256;

/// The longest definition accepted, in bytes.
pub const DEFINITION_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The last words of a QEMU that are quoted in an error, in bytes.
pub const LAST_WORDS_MAX_BYTES: u64 = 4 * 1024;

/// How often a job on snapshots is asked how far it is.
pub const SNAPSHOT_JOB_POLL_MS: u64 = 5;

/// The longest name of a snapshot, in bytes.
pub const SNAPSHOT_NAME_MAX_BYTES: usize = 255;

/// The longest domain name, in bytes.
pub const DOMAIN_NAME_MAX_BYTES: usize = 255;

/// First TCP port given to a VNC or SPICE server, and how many there are.
pub const GRAPHICS_PORT_FIRST: u16 = 5_900;
/// One past the last TCP port given to a VNC or SPICE server.
pub const GRAPHICS_PORT_END: u16 = 65_535;

/// Domain statistics: how many machines are asked at a time.
pub const STATS_PARALLEL_MAX: usize = 64;

/// How often a state being written is asked how far it is.
pub const MIGRATION_POLL_MS: u64 = 10;

/// How long QEMU may take to give up writing a state nobody waits for any more.
pub const SAVE_CANCEL_TIMEOUT_MS: u64 = 10_000;

/// Bytes of a machine's log before its next run begins a new one.
pub const MACHINE_LOG_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How long a guest may take to bring its file systems to rest or to trim them.
pub const AGENT_FREEZE_TIMEOUT_MS: u64 = 120_000;

/// How long one attempt to reach a hanging QEMU may take.
pub const RECONNECT_TIMEOUT_MS: u64 = 3_600_000;

/// How long a guest may take to let go of a virtual processor.
pub const VCPU_UNPLUG_TIMEOUT_MS: u64 = 5_000;

/// How often it is looked whether it has.
pub const VCPU_UNPLUG_POLL_MS: u64 = 50;

/// How long to wait between two attempts to reach a QEMU that turned one down.
pub const RECONNECT_PAUSE_MS: u64 = 1_000;

/// Jobs under way at a time.
pub const JOBS_RUNNING_MAX: usize = 64;

/// Jobs that are remembered.
pub const JOBS_KEPT_MAX: usize = 500;

/// News of jobs not yet taken in by a subscriber.
pub const JOB_NEWS_MAX: usize = 1_024;

/// How often the progress of a job is told to subscribers.
pub const JOB_PROGRESS_PERIOD_MS: u64 = 100;

/// How long a network's dnsmasq may take to go before it is killed.
pub const DNSMASQ_END_TIMEOUT_MS: u64 = 2_000;

/// How long to wait before dnsmasq is started once more when that failed.
pub const DNSMASQ_RESTART_PAUSE_MS: u64 = 2_000;

/// How long a pool's directory may be silent before whoever asked is told.
pub const POOL_SILENCE_MAX_MS: u64 = 10_000;

/// How long the daemon's start waits for its pools before it serves without the slow ones.
pub const POOLS_START_WAIT_MS: u64 = 3_000;

/// Bytes of a volume read or written at a time.
pub const VOLUME_PIECE_BYTES: usize = 1024 * 1024;

/// Pieces of a volume that wait between the disk and the client.
pub const VOLUME_PIECES_MAX: usize = 4;

/// The last words of qemu-img that are quoted in an error, in bytes.
pub const TOOL_WORDS_MAX_BYTES: usize = 4 * 1024;

/// The most that qemu-img may find out about an image, in bytes; a client takes an event of 4 MiB.
pub const TOOL_REPORT_MAX_BYTES: usize = 3 * 1024 * 1024;

/// How often a download that brings nothing further is tried.
pub const FETCH_ATTEMPTS_MAX: u32 = 5;

/// How long a server may take to be connected to.
pub const FETCH_CONNECT_TIMEOUT_MS: u64 = 30_000;

/// How long a server may take to begin its answer.
pub const FETCH_ANSWER_TIMEOUT_MS: u64 = 60_000;

/// Bytes of the file system that an import leaves free.
pub const IMAGE_SPACE_RESERVE_BYTES: u64 = 512 * 1024 * 1024;

/// Memory that decompressing an image may take.
pub const DECOMPRESS_MEMORY_MIB: u64 = 1_024;

/// Clones made by one request.
pub const CLONES_MAX: usize = 1_000;

/// The largest kernel or initial RAM disk of an installer, in bytes.
pub const KERNEL_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Files put into an installer's initial RAM disk.
pub const INJECTED_FILES_MAX: usize = 64;

/// Files of libosinfo's database that are read.
pub const OSINFO_FILES_MAX: usize = 5_000;

/// How long changes of the firewall by others may go on before they are looked at.
pub const FIREWALL_SETTLE_MS: u64 = 30;

/// Most processes of our own that are told from those of others in news of the firewall.
pub const TOOLS_REMEMBERED_MAX: usize = 32;

/// How often it is looked which address a machine with forwarded ports has.
pub const FORWARD_RETRY_MS: u64 = 1_000;

/// Bytes of a guest's file or list that are shown.
pub const INSIDE_OUTPUT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// How long one of the administrator's programs may take.
pub const HOOK_TIMEOUT_MS: u64 = 60_000;
/// How long a guest may take to say which addresses it has, where many are asked.
pub const AGENT_ADDRESSES_TIMEOUT_MS: u64 = 1_000;

/// Groups of descriptors that clients may give for machines' images.
pub const FD_GROUPS_MAX: usize = 1024;

/// Descriptors in one of them.
pub const FD_GROUP_MAX: usize = 16;
