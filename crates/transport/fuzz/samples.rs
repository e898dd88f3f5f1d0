//! One good object of each kind, and how an input changes it: so that a run begins behind the first length check.

use std::sync::{Arc, OnceLock};

use linkmesh_transport::core::{Authenticator, Channel};
use linkmesh_transport::identity::{IdentityOptions, Joining, NodeIdentity, Revoked};
use tempfile::TempDir;

#[path = "../tests/support/channels.rs"]
mod channels;

use channels::connect;

/// A network of two nodes and the channel between them.
pub struct Samples {
    pub certificate: Vec<u8>,
    pub bundle: Vec<u8>,
    pub revocations: Vec<u8>,
    pub token: Vec<u8>,
    /// What the second node sends to join, and to prove itself on `channel`.
    pub request: Vec<u8>,
    pub proof: Vec<u8>,
    /// The first node's ends of the joiner's connection and of the member's.
    pub joining: Channel,
    pub channel: Channel,
    pub issuer: Arc<NodeIdentity>,
    _folders: [TempDir; 2],
}

/// Made once a process: half a second.
pub fn samples() -> &'static Samples {
    static SAMPLES: OnceLock<Samples> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let issuer =
            NodeIdentity::open_or_create(IdentityOptions::new(folders[0].path()), "fuzz").unwrap();
        let token = issuer
            .invite("", 3600)
            .unwrap()
            .to_text()
            .as_str()
            .to_owned();
        let joining = Joining::new(&token, IdentityOptions::new(folders[1].path())).unwrap();
        let [there, here] = connect(joining.tls_client(), issuer.tls_server());
        let request = joining.request(&there);
        let answer = issuer.answer(&here, &request).unwrap();
        let node = joining.accept(&there, &answer, "127.0.0.1:1").unwrap();
        // The door stays open, so that requests are looked at.
        issuer.invite("", 3600).unwrap();
        let revocations = issuer.revoke(Revoked::Certificate([7; 16])).unwrap();
        let [member, channel] = connect(node.tls_client(), issuer.tls_server());
        Samples {
            certificate: node.certificate().as_bytes().to_vec(),
            bundle: node.trust_bundle().as_bytes().to_vec(),
            revocations: revocations.as_bytes().to_vec(),
            token: token.into_bytes(),
            request,
            proof: node.prove(&member).unwrap(),
            joining: here,
            channel,
            issuer,
            _folders: folders,
        }
    })
}

/// The bytes to be tried. An even first byte: what follows as it is. An odd one: the sample, changed at each place
/// (16 bits) to each value (8 bits) of what follows, and cut or lengthened by what is left over.
pub fn tried(input: &[u8], sample: &[u8]) -> Vec<u8> {
    let Some((mode, rest)) = input.split_first() else {
        return Vec::new();
    };
    if mode & 1 == 0 {
        return rest.to_vec();
    }
    let mut bytes = sample.to_vec();
    let (changes, end) = rest.as_chunks::<3>();
    for [low, high, value] in changes {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        bytes[at] = *value;
    }
    match end {
        [cut] => bytes.truncate(bytes.len().saturating_sub(usize::from(*cut))),
        end => bytes.extend_from_slice(end),
    }
    bytes
}
