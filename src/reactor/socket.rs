//! TCP sockets as shared handles.
//!
//! A socket closes when its last holder lets go, and every operation in flight holds one: its number is not reused
//! while a completion can still come (`FAULTS.md` H06). To end a connection, `shutdown` it: pending operations then
//! complete by themselves, and no cancellation is needed (H04).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};

/// A TCP socket, or a test double's. Clones share it.
#[derive(Clone, Debug)]
pub struct Socket(Arc<Handle>);

#[derive(Debug)]
enum Handle {
    Os(OwnedFd),
    Double(u64),
}

impl Socket {
    /// An unconnected socket for `address`, with Nagle's algorithm off. Buffer sizes in bytes; `None` leaves them to
    /// the system.
    pub fn tcp(
        address: &SocketAddr,
        send_bytes: Option<usize>,
        receive_bytes: Option<usize>,
    ) -> io::Result<Socket> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(*address),
            socket2::Type::STREAM.cloexec(),
            Some(socket2::Protocol::TCP),
        )?;
        let socket = Socket::from_fd(socket.into());
        socket.set_buffers(send_bytes, receive_bytes)?;
        socket.set_no_delay()?;
        Ok(socket)
    }

    /// A listening socket. `receive_bytes` must be set before listening to take effect on the window scale.
    pub fn listen(
        address: SocketAddr,
        backlog: i32,
        send_bytes: Option<usize>,
        receive_bytes: Option<usize>,
        reuse_port: bool,
    ) -> io::Result<Socket> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM.cloexec(),
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let Some(bytes) = send_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(Socket::from_fd(socket.into()))
    }

    /// Wraps a descriptor.
    pub fn from_fd(fd: OwnedFd) -> Socket {
        Socket(Arc::new(Handle::Os(fd)))
    }

    /// Wraps a socket of a test double.
    pub fn from_double(number: u64) -> Socket {
        Socket(Arc::new(Handle::Double(number)))
    }

    /// The number within the test double, or `None` for a real socket.
    pub fn double(&self) -> Option<u64> {
        match &*self.0 {
            Handle::Double(number) => Some(*number),
            Handle::Os(_) => None,
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        match &*self.0 {
            Handle::Os(fd) => fd.as_raw_fd(),
            Handle::Double(_) => -1,
        }
    }

    fn with<T>(&self, absent: T, act: impl FnOnce(socket2::SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        match &*self.0 {
            Handle::Os(fd) => act(socket2::SockRef::from(fd)),
            Handle::Double(_) => Ok(absent),
        }
    }

    /// Sets SO_SNDBUF and SO_RCVBUF, in bytes.
    pub fn set_buffers(&self, send_bytes: Option<usize>, receive_bytes: Option<usize>) -> io::Result<()> {
        self.with((), |socket| {
            send_bytes.map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes))?;
            receive_bytes.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes))
        })
    }

    /// Makes direct calls return `WouldBlock` instead of waiting.
    pub(super) fn set_non_blocking(&self) -> io::Result<()> {
        self.with((), |socket| socket.set_nonblocking(true))
    }

    /// Sends small answers at once.
    pub fn set_no_delay(&self) -> io::Result<()> {
        self.with((), |socket| socket.set_tcp_nodelay(true))
    }

    /// Finds dead peers after `idle` of silence, as Kafka's SO_KEEPALIVE does.
    pub fn set_keep_alive(&self, idle: std::time::Duration) -> io::Result<()> {
        self.with((), |socket| socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle)))
    }

    /// Ends both directions; pending operations complete. Harmless when the peer is gone already.
    pub fn shutdown(&self) {
        // ENOTCONN only says that there is nothing left to end.
        let _ = self.with((), |socket| socket.shutdown(std::net::Shutdown::Both));
    }

    /// The peer's address.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        self.with(none, |socket| Ok(socket.peer_addr()?.as_socket().unwrap_or(none)))
    }

    /// This end's address.
    pub fn local(&self) -> io::Result<SocketAddr> {
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        self.with(none, |socket| Ok(socket.local_addr()?.as_socket().unwrap_or(none)))
    }
}

/// Which socket a note is about, without keeping it open. A descriptor's number is not enough: it is used again.
#[derive(Debug)]
pub(super) struct SocketName(Weak<Handle>);

impl SocketName {
    pub fn of(socket: &Socket) -> SocketName {
        SocketName(Arc::downgrade(&socket.0))
    }

    /// The memory behind a name is not given to another socket while the name lives, so equal means the same.
    pub fn is_of(&self, socket: &Socket) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&socket.0))
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Socket) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Socket {}
