//! Every decoder on random and on mutated bytes: no panic, no allocation that the bytes do not cover, no acceptance.

use proptest::prelude::*;
use std::sync::OnceLock;

use super::network::Network;
use super::pair::{VerifyPeer, connect};
use crate::core::{Authenticator, Channel};
use crate::identity::chain::{IssuedChain, NodeChain};
use crate::identity::join::{Reply, Request};
use crate::identity::{
    Certificate, JoinToken, Joining, NodeIdentity, RevocationList, Revoked, TrustBundle,
    tls_certificate,
};

/// One good object of each kind.
struct Samples {
    objects: Vec<Vec<u8>>,
    proof: Vec<u8>,
    channel: Channel,
    verifier: std::sync::Arc<NodeIdentity>,
}

fn samples() -> &'static Samples {
    static SAMPLES: OnceLock<Samples> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let network = Network::new();
        let node = network.node("node");
        let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
        let proof = node.prove(&client).unwrap();
        let list = network
            .issuer
            .revoke(Revoked::Certificate([7; 16]))
            .unwrap();
        let token = network.issuer.invite("", 60).unwrap().to_text();
        let joining = Joining::new(&token, network.options("joiner")).unwrap();
        let (joiner, there) = connect(joining.tls_client(), &network.issuer).unwrap();
        let request = joining.request(&joiner);
        let answer = network.issuer.answer(&there, &request).unwrap();
        let live = node.current.get();
        Samples {
            objects: vec![
                node.certificate().as_bytes().to_vec(),
                node.credential(),
                live.chain.encode(),
                node.trust_bundle().as_bytes().to_vec(),
                list.as_bytes().to_vec(),
                request,
                answer,
                live.chain.tls_node.to_vec(),
                token.as_bytes().to_vec(),
            ],
            proof,
            channel: server,
            verifier: std::sync::Arc::clone(&network.issuer),
        }
    })
}

/// Gives the bytes to every decoder; how many accepted them.
fn decode_all(bytes: &[u8]) -> usize {
    [
        Certificate::decode(bytes).is_ok(),
        NodeChain::decode(bytes).is_ok(),
        IssuedChain::decode(bytes).is_ok(),
        TrustBundle::decode(bytes).is_ok(),
        RevocationList::decode(bytes).is_ok(),
        Request::decode(bytes).is_ok(),
        Reply::decode(bytes, None).is_ok(),
        tls_certificate::name_of(bytes).is_ok(),
        std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<JoinToken>().is_ok()),
    ]
    .into_iter()
    .filter(|accepted| *accepted)
    .count()
}

#[test]
fn each_sample_is_one_decoders() {
    for (at, object) in samples().objects.iter().enumerate() {
        // The answer to a join ends with a MAC, which a renewal's does not have.
        let expected = usize::from(at != 6);
        assert_eq!(decode_all(object), expected, "sample {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
        prop_assert_eq!(decode_all(&bytes), 0);
        let samples = samples();
        prop_assert!(samples.verifier.verify_peer(&samples.channel, &bytes).is_err());
        prop_assert!(samples.verifier.answer(&samples.channel, &bytes).is_err());
    }

    #[test]
    fn a_prefix_of_an_object_is_none(which in 0usize..9, cut in any::<prop::sample::Index>()) {
        let object = &samples().objects[which];
        prop_assert_eq!(decode_all(&object[..cut.index(object.len())]), 0);
    }

    #[test]
    fn changed_bytes_never_panic_and_never_prove(
        which in 0usize..10,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        extra in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let samples = samples();
        let original = samples.objects.get(which).unwrap_or(&samples.proof);
        let mut bytes = original.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend_from_slice(&extra);
        decode_all(&bytes);
        if bytes != samples.proof {
            prop_assert!(samples.verifier.verify_peer(&samples.channel, &bytes).is_err());
        }
        prop_assert!(samples.verifier.answer(&samples.channel, &bytes).is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused(which in 0usize..9, at in any::<prop::sample::Index>()) {
        // Four bytes of 0xff wherever a length may be: nothing of that size is taken.
        let mut bytes = samples().objects[which].clone();
        let at = at.index(bytes.len() - 4);
        bytes[at..at + 4].fill(0xff);
        decode_all(&bytes);
    }
}
