//! Reaching nodes: by the place where they listen, or by their global address, wherever they are.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use linkmesh_registry::Status;
use linkmesh_transport::address::{Endpoint, Source};
use linkmesh_transport::core::{PeerSlot, Target};
use linkmesh_transport::relay::Wanted;

use crate::state::Failure;
use crate::transport::locate::parse;
use crate::transport::{Node, NodeApp, address};

impl Node {
    /// A connection to what an address names: `quic://host:port`, or a global address. It is kept from then on.
    pub(super) fn reach(&self, address: &str, longest: Duration) -> Result<PeerSlot, Failure> {
        if address.starts_with("quic://") {
            return self.reach_at(address, longest);
        }
        let parsed = parse(address)?;
        let until = Instant::now() + longest;
        // The lookup that takes no lock of the engine; what it does not know is found out.
        let reader = linkmesh_tables::epoch::Domain::global().register();
        let route = self
            .translation
            .lookup(parsed.node(), Instant::now(), &reader.pin())
            .cloned();
        let network = self.identity.network();
        if let Some(route) = route.filter(|route| parsed.names(&network, &route.node)) {
            return Ok(route.peer);
        }
        let found = self.find(parsed, longest)?;
        match found.source {
            Source::Connected(peer) => return Ok(peer),
            Source::Own => {
                return Err(Failure::new(
                    Status::InvalidArgument,
                    format!("{address} is this node itself"),
                )
                .field("address"));
            }
            Source::Cache | Source::Peer(_) => {}
        }
        let mut wanted = Wanted {
            node: found.node,
            direct: Vec::new(),
            relays: Vec::new(),
        };
        for endpoint in found
            .record
            .iter()
            .flat_map(|record| &record.locator().endpoints)
        {
            match *endpoint {
                Endpoint::Direct(place) => wanted.direct.push(place),
                Endpoint::Relay { relay, address } => wanted.relays.push((relay, address)),
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        self.until_known(left, address, |app, io, tell| app.keep(io, wanted, tell))
    }

    fn reach_at(&self, place: &str, longest: Duration) -> Result<PeerSlot, Failure> {
        let addresses = address::resolve(place, "address")?;
        let connected = self.with(|_, io| {
            let there = |slot: &PeerSlot| {
                io.address(*slot)
                    .is_some_and(|address| addresses.contains(&address))
            };
            io.peers().into_iter().map(|(slot, _)| slot).find(there)
        });
        match connected.ok_or_else(Failure::node_closed)? {
            Some(peer) => Ok(peer),
            None => self.dial(addresses, longest, place),
        }
    }

    /// Connects to whoever is at one of these addresses, and keeps it connected from then on.
    pub(super) fn dial(
        &self,
        addresses: Vec<SocketAddr>,
        longest: Duration,
        shown: &str,
    ) -> Result<PeerSlot, Failure> {
        let target = Target {
            addresses,
            expected: None,
            connections: 1,
            persistent: true,
        };
        self.until_known(longest, shown, |app, io, tell| {
            app.connect(io, target, tell)
        })
    }

    /// Waits until a node that is dialled is connected and its services are known here.
    fn until_known(
        &self,
        longest: Duration,
        shown: &str,
        begin: impl FnOnce(
            &mut NodeApp,
            &mut linkmesh_transport::core::Io<'_>,
            mpsc::Sender<Result<PeerSlot, Failure>>,
        ) -> Result<u64, &'static str>,
    ) -> Result<PeerSlot, Failure> {
        let (tell, told) = mpsc::channel();
        let begun = self
            .with(|app, io| begin(app, io, tell))
            .ok_or_else(Failure::node_closed)?;
        let waiter = begun.map_err(|limit| {
            Failure::new(
                Status::LimitExceeded,
                format!("the limit of {limit} is reached"),
            )
            .field(limit)
        })?;
        let outcome = told.recv_timeout(longest).unwrap_or_else(|_| {
            Err(Failure::new(
                Status::DeadlineExceeded,
                format!(
                    "nobody answered at {shown} within {} ms: is the process there, is UDP allowed, and is there a relay where \
                     there is no way between the two?",
                    longest.as_millis()
                ),
            )
            .field("address"))
        });
        outcome.inspect_err(|_| {
            self.with(|app, io| app.give_up(io, waiter));
        })
    }
}
