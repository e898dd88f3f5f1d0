//! The ring of a node that runs on this host, as a way for frames.

#[cfg(target_os = "linux")]
mod shared {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use linkmesh_memory::endpoint::session;
    use linkmesh_memory::host::{Channel, ChannelError, SameHost};
    use linkmesh_transport::core::PeerSlot;

    use linkmesh_requests::Malformed;
    use linkmesh_requests::RingOver;
    use linkmesh_requests::RingSource;

    /// Longest piece of the byte stream that is written at once: a ring holds sixteen.
    const PIECE_BYTES: usize = 64 << 10;

    /// Both directions.
    #[derive(Debug)]
    pub(in crate::remote) struct Ring(Channel);

    impl Ring {
        /// Appends and publishes; how much was taken.
        pub(in crate::remote) fn write(&mut self, bytes: &[u8]) -> Result<usize, RingOver> {
            let mut taken = 0;
            let mut refused = None;
            for piece in bytes.chunks(PIECE_BYTES) {
                if let Err(error) = self.0.sender.push(piece) {
                    refused = Some(error);
                    break;
                }
                taken += piece.len();
            }
            // Published even where the bell finds nobody: what was pushed is there to be read.
            let rung = self.0.sender.flush();
            match refused.or(rung.err()) {
                Some(ChannelError::Full) | None => Ok(taken),
                // The next call says so.
                Some(_) if taken > 0 => Ok(taken),
                Some(_) => Err(RingOver),
            }
        }

        /// True once the other end has closed it, or its process has ended.
        pub(in crate::remote) fn is_over(&self) -> bool {
            self.0.receiver.is_peer_gone()
        }

        /// Says that nobody polls from here on. False: there is something to read.
        pub(in crate::remote) fn arm(&mut self) -> bool {
            // A broken ring is noticed by whoever reads it next.
            self.0.receiver.arm().unwrap_or(false)
        }

        pub(in crate::remote) fn disarm(&mut self) {
            self.0.receiver.disarm();
        }
    }

    impl RingSource for Ring {
        fn read(&mut self, most: usize, show: impl FnMut(&[u8])) -> Result<usize, Malformed> {
            self.0.receiver.poll(most, show).map_err(|_| Malformed)
        }
    }

    /// The other nodes of this host.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Neighbours {
        host: Option<Arc<SameHost>>,
        /// Something has happened to a ring: it stands, was rung, or is over.
        stirred: Arc<AtomicBool>,
    }

    impl Neighbours {
        /// Linked by `host`. `look` is called, on the host's thread, when the engine has to look.
        pub(crate) fn new(host: Arc<SameHost>, look: impl Fn() + Send + Sync + 'static) -> Self {
            let stirred = Arc::new(AtomicBool::new(true));
            let stir = Arc::clone(&stirred);
            host.on_wake(move |_| {
                // Release: whoever sees it finds what the host's thread did before.
                stir.store(true, Ordering::Release);
                look();
            });
            Self {
                host: Some(host),
                stirred,
            }
        }

        /// True once after something has happened.
        #[inline]
        pub(in crate::remote) fn has_stirred(&self) -> bool {
            // The first look is a plain load: most turns nothing has happened.
            self.stirred.load(Ordering::Relaxed) && self.stirred.swap(false, Ordering::Acquire)
        }

        /// The ring of a connection, once, when it stands.
        pub(in crate::remote) fn ring(&self, slot: PeerSlot) -> Option<Ring> {
            self.host.as_ref()?.channel(session(slot)).map(Ring)
        }

        /// True when the process at the other end of a link has ended, as its kernel says.
        pub(in crate::remote) fn has_ended(&self, slot: PeerSlot) -> bool {
            self.host
                .as_ref()
                .is_some_and(|host| host.has_peer_ended(session(slot)))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod shared {
    use linkmesh_transport::core::PeerSlot;

    use linkmesh_requests::Malformed;
    use linkmesh_requests::RingOver;
    use linkmesh_requests::RingSource;

    /// There is none here.
    #[derive(Debug)]
    pub(in crate::remote) enum Ring {}

    impl Ring {
        pub(in crate::remote) fn write(&mut self, _: &[u8]) -> Result<usize, RingOver> {
            match *self {}
        }
        pub(in crate::remote) fn is_over(&self) -> bool {
            match *self {}
        }
        pub(in crate::remote) fn arm(&mut self) -> bool {
            match *self {}
        }
        pub(in crate::remote) fn disarm(&mut self) {
            match *self {}
        }
    }

    impl RingSource for Ring {
        fn read(&mut self, _: usize, _: impl FnMut(&[u8])) -> Result<usize, Malformed> {
            match *self {}
        }
    }

    /// Nodes of one host talk over QUIC here.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Neighbours;

    #[allow(
        clippy::unused_self,
        reason = "the same face as where there is something to do"
    )]
    impl Neighbours {
        pub(in crate::remote) fn has_stirred(&self) -> bool {
            false
        }
        pub(in crate::remote) fn ring(&self, _: PeerSlot) -> Option<Ring> {
            None
        }
        pub(in crate::remote) fn has_ended(&self, _: PeerSlot) -> bool {
            false
        }
    }
}

pub(crate) use shared::Neighbours;
pub(super) use shared::Ring;
