//! Unix sockets: listening with an owner and a mode, who the peer is, and
//! descriptors that travel.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, listen,
    recvmsg, sendmsg, socket_with, socketpair, sockopt,
};

use crate::error::{SysError, SysResult};

/// Most descriptors that travel with one message.
pub const MESSAGE_FDS_MAX: usize = 16;

/// Connections that may wait to be accepted.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permission bits of the socket's file; connecting takes the write bit.
    pub mode: u32,
    /// Its owner; none for ourselves.
    pub uid: Option<u32>,
    /// Its group; none for our own.
    pub gid: Option<u32>,
}

/// A socket that listens, and its file, which is removed with it.
#[derive(Debug)]
pub struct Listening {
    /// The socket, nonblocking.
    pub listener: UnixListener,
    file: SocketFile,
}

/// The name a socket listens under. Removed when dropped, unless another
/// socket has taken it over.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Listening {
    /// Takes the two apart.
    pub fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).ok() == Some(self.inode) {
            // It is ours and nobody can connect any more; if it stays, the
            // next daemon finds that it is stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`. The name appears only once the socket listens and has
/// its owner and mode; a stale one, that nobody answers at, is replaced. One
/// that is answered is an error of kind `AddrInUse`.
pub fn listen_at(path: &Path, access: SocketAccess) -> SysResult<Listening> {
    let fail = |e: io::Error| SysError::on_path("listen at", path, e);
    if is_answered(path).map_err(fail)? {
        return Err(SysError::on_path(
            "listen at",
            path,
            io::ErrorKind::AddrInUse,
        ));
    }
    let temporary = beside(path);
    let _ = std::fs::remove_file(&temporary);
    let listening = listen_under(&temporary, access).and_then(|socket| {
        std::fs::rename(&temporary, path)?;
        let file = SocketFile {
            path: path.to_owned(),
            inode: inode(path)?,
        };
        Ok(Listening {
            listener: socket.into(),
            file,
        })
    });
    if listening.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    listening.map_err(fail)
}

/// Connects, also where the path is too long for a socket address.
pub fn connect_to(path: &Path) -> SysResult<UnixStream> {
    let fail = |e: io::Error| SysError::on_path("connect to", path, e);
    let (_directory, short) = short_path(path).map_err(fail)?;
    UnixStream::connect(short).map_err(fail)
}

fn listen_under(path: &Path, access: SocketAccess) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let (_directory, short) = short_path(path)?;
    bind(&socket, &SocketAddrUnix::new(&short)?)?;
    lchown(path, access.uid, access.gid)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))?;
    listen(&socket, LISTEN_BACKLOG)?;
    Ok(socket)
}

/// Whether somebody listens there. Something that is no socket is an error:
/// it is not ours to replace.
fn is_answered(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) => {}
    }
    let (_directory, short) = short_path(path)?;
    match UnixStream::connect(short) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// A path to the same file that fits into a socket address (107 bytes), and
/// what must stay open while it is used.
fn short_path(path: &Path) -> io::Result<(Option<OwnedFd>, PathBuf)> {
    if path.as_os_str().len() <= 107 {
        return Ok((None, path.to_owned()));
    }
    use rustix::fs::{Mode, OFlags, open};
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok((Some(directory), short))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The process at the other end of a connection, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id; 0 when it is in a namespace we cannot see into.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Who connected.
pub fn peer(socket: impl AsFd) -> SysResult<Peer> {
    // Not through rustix, whose type for process ids has no 0.
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure is valid and writable for the size given.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    if done != 0 {
        let cause = io::Error::last_os_error();
        return Err(SysError::new("identify", "the peer of a socket", cause));
    }
    Ok(Peer {
        pid: peer.pid,
        uid: peer.uid,
        gid: peer.gid,
    })
}

/// Sends bytes and, with the first of them, descriptors. Never waits: an
/// error of kind `WouldBlock` when there is no room.
pub fn send_with_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MESSAGE_FDS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        flags,
    )?)
}

/// Receives bytes, and adds descriptors that came with them to `fds`, each
/// closed on exec. Never waits: an error of kind `WouldBlock` when there is
/// nothing. 0 bytes is the end. More descriptors in one message than
/// [`MESSAGE_FDS_MAX`] is an error of kind `InvalidData`.
pub fn receive_with_fds(
    socket: impl AsFd,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(message.bytes)
}

/// Receives bytes; descriptors that come with them are closed. Never waits: an error of kind
/// `WouldBlock` when there is nothing. 0 bytes is the end.
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(socket, bytes, RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// Appends up to `max` received bytes; otherwise as [`receive`].
pub fn receive_appending(socket: impl AsFd, bytes: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    bytes.reserve(max);
    let room = &mut bytes.spare_capacity_mut()[..max];
    let ((received, _), _) = rustix::net::recv(socket, room, RecvFlags::DONTWAIT)?;
    let count = received.len();
    // SAFETY: the bytes behind the old ones, as many as were received, have been written.
    unsafe { bytes.set_len(bytes.len() + count) };
    Ok(count)
}

/// As [`receive`], but the bytes stay there to be received.
pub fn peek(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    let (count, _) = rustix::net::recv(socket, bytes, flags)?;
    Ok(count)
}

/// Waits until there is something to receive, or the socket has ended or failed.
pub fn wait_readable(socket: impl AsFd) -> io::Result<()> {
    let mut wanted = [PollFd::new(&socket, PollFlags::IN)];
    match poll(&mut wanted, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Whether the other side has ended the connection, as far as is known at this moment.
pub fn is_hung_up(socket: impl AsFd) -> bool {
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut asked = [PollFd::new(&socket, ends)];
    matches!(poll(&mut asked, Some(&Timespec::default())), Ok(1))
}

/// Lets a socket hold about so many bytes that the other side has not taken, or as many as this
/// process may.
pub fn hold_unsent(socket: impl AsFd, bytes: usize) {
    // The system's bound on it is for those without privilege.
    if sockopt::set_socket_send_buffer_size_force(&socket, bytes).is_err() {
        // One that holds less is filled more often.
        let _ = sockopt::set_socket_send_buffer_size(&socket, bytes);
    }
}

/// Ends a connection in both directions, for everybody who has its socket.
pub fn shut_down(socket: impl AsFd) {
    // One whose other side is gone is at its end already.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// Two connected sockets, blocking, closed on exec.
pub fn pair() -> SysResult<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| SysError::new("make", "a pair of sockets", e))
}

/// A file that lives in memory only; `name` is for debugging.
pub fn memory_file(name: &str) -> SysResult<std::fs::File> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
        .map(std::fs::File::from)
        .map_err(|e| SysError::new("make", format!("the memory file {name}"), e))
}
