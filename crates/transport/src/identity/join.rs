//! How a node gets its certificate: with a token the first time, with its proof afterwards.
//!
//! One request and one reply on a connection with `JOIN_ALPN`; no I/O here.
//!
//! ```text
//! request  version u8 1, kind u8
//!   1 join    token id 16, name u8 length, TLS key u32 length, FALCON key 1793,
//!             possession 1282 (detached, over exporter and all before), MAC 32
//!   2 renew   a node proof of this channel
//! reply    version u8 1, chain, bundle, revocations (u32 length each), then for a join: MAC 32
//! ```
//! Both MACs are keyed with the token's secret and bound to the channel: a man in the middle knows neither secret nor
//! exporter, so he can neither ask in the joiner's name nor answer in the issuer's, whatever becomes of TLS.

use super::bundle::{MAX_BUNDLE_BYTES, TrustBundle};
use super::certificate::{Certificate, MAX_NAME_BYTES};
use super::chain::{IssuedChain, MAX_CHAIN_BYTES};
use super::codec::{Reader, put_block, put_text};
use super::error::IdentityError;
use super::falcon::{FALCON_PUBLIC_BYTES, FalconPublic};
use super::id::KeyId;
use super::keys::Keys;
use super::revocation::RevocationList;
use super::signed::{DETACHED_BYTES, ObjectKind, sign_detached, verify_detached};
use super::tls_certificate::{TlsName, name_of, spki_of};
use super::token::{JoinToken, MAC_BYTES, Message, TokenKey};
use super::trust::Trust;
use crate::core::{Channel, MAX_JOIN_REPLY_BYTES, MAX_JOIN_REQUEST_BYTES};

const VERSION: u8 = 1;
const JOIN: u8 = 1;
const RENEW: u8 = 2;
const REQUEST: &str = "join request";
const REPLY: &str = "join reply";
/// A revocation list that is longer is left out of the reply; the node asks for it once it is a member.
const MAX_LIST_IN_REPLY: usize = 24 * 1_024;
/// Longest TLS key in a request, bytes.
const MAX_SPKI_BYTES: usize = 256;

/// A request taken apart. What it claims holds only after `check`.
#[derive(Debug)]
pub(super) enum Request<'a> {
    Join(JoinRequest<'a>),
    /// The proof.
    Renew(&'a [u8]),
}

#[derive(Debug)]
pub(super) struct JoinRequest<'a> {
    pub(super) token: [u8; 16],
    pub(super) name: &'a str,
    pub(super) tls_spki: &'a [u8],
    pub(super) falcon: FalconPublic,
    possession: &'a [u8],
    /// Everything before `possession`.
    claims: &'a [u8],
    /// Everything before the MAC.
    authenticated: &'a [u8],
    mac: &'a [u8; MAC_BYTES],
}

/// Asks to join with a token.
pub(super) fn join_request(
    token: &JoinToken,
    name: &str,
    keys: &Keys,
    exporter: &[u8; 64],
) -> Vec<u8> {
    let mut request = Vec::with_capacity(4_096);
    request.extend_from_slice(&[VERSION, JOIN]);
    request.extend_from_slice(&token.id());
    put_text(&mut request, name);
    put_block(&mut request, &keys.tls.spki());
    request.extend_from_slice(keys.falcon.public().as_bytes());
    let claims = [&exporter[..], &request].concat();
    let possession = sign_detached(ObjectKind::JOIN_REQUEST, &keys.falcon, &claims);
    request.extend_from_slice(&possession);
    let mac = TokenKey::of(token).mac(Message::Request, exporter, &request);
    request.extend_from_slice(&mac);
    request
}

/// Asks to renew with a proof of this channel.
pub(super) fn renew_request(proof: &[u8]) -> Vec<u8> {
    [&[VERSION, RENEW], proof].concat()
}

impl<'a> Request<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(REQUEST, bytes, MAX_JOIN_REQUEST_BYTES)?;
        let (version, kind) = (reader.u8()?, reader.u8()?);
        match (version, kind) {
            (VERSION, RENEW) => Ok(Self::Renew(reader.bytes(reader.remaining())?)),
            (VERSION, JOIN) => {
                let token = *reader.array()?;
                let name = reader.text(MAX_NAME_BYTES)?;
                let tls_spki = reader.block(MAX_SPKI_BYTES)?;
                let falcon = FalconPublic::decode(reader.array::<FALCON_PUBLIC_BYTES>()?)?;
                let claims = &bytes[..bytes.len() - reader.remaining()];
                let possession = reader.bytes(DETACHED_BYTES)?;
                let authenticated = &bytes[..bytes.len() - reader.remaining()];
                let mac = reader.array()?;
                reader.finish()?;
                Ok(Self::Join(JoinRequest {
                    token,
                    name,
                    tls_spki,
                    falcon,
                    possession,
                    claims,
                    authenticated,
                    mac,
                }))
            }
            _ => Err(IdentityError::Unsupported {
                object: REQUEST,
                version,
                algorithm: kind,
            }),
        }
    }
}

impl JoinRequest<'_> {
    /// Whether the joiner knows the token, came over this channel and holds both keys it wants certified.
    pub(super) fn check(&self, key: &TokenKey, channel: &Channel) -> Result<(), IdentityError> {
        key.verify(
            Message::Request,
            &channel.exporter,
            self.authenticated,
            self.mac,
        )?;
        let leaf = channel
            .peer_certificates
            .first()
            .ok_or(IdentityError::BindingMismatch {
                reason: "the joiner showed no TLS certificate",
            })?;
        // TLS proved that the joiner holds the key of the certificate it showed; this is the one it wants certified.
        if !matches!(name_of(leaf)?, TlsName::Joiner) || spki_of(leaf)? != self.tls_spki {
            return Err(IdentityError::BindingMismatch {
                reason: "the joiner's TLS certificate has another key than its request",
            });
        }
        let claims = [&channel.exporter[..], self.claims].concat();
        verify_detached(
            REQUEST,
            ObjectKind::JOIN_REQUEST,
            &self.falcon,
            &claims,
            self.possession,
        )
    }
}

/// Answers. `token` is the joiner's; a renewal has none and needs none: all that it is sent is signed.
pub(super) fn reply(
    chain: &IssuedChain,
    trust: &Trust,
    token: Option<(&TokenKey, &[u8; 64])>,
) -> Vec<u8> {
    let mut reply = vec![VERSION];
    put_block(&mut reply, &chain.encode());
    put_block(&mut reply, trust.bundle.as_bytes());
    let list = trust.revocations.as_bytes();
    put_block(
        &mut reply,
        if list.len() <= MAX_LIST_IN_REPLY {
            list
        } else {
            &[]
        },
    );
    if let Some((key, exporter)) = token {
        let mac = key.mac(Message::Reply, exporter, &reply);
        reply.extend_from_slice(&mac);
    }
    reply
}

/// A reply taken apart, and for a join, authenticated.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) chain: IssuedChain,
    pub(super) bundle: TrustBundle,
    pub(super) revocations: Option<RevocationList>,
}

impl Reply {
    /// `token`: what the request was made with, and the channel's exporter; `None` for a renewal.
    pub(super) fn decode(
        bytes: &[u8],
        token: Option<(&JoinToken, &[u8; 64])>,
    ) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(REPLY, bytes, MAX_JOIN_REPLY_BYTES)?;
        let version = reader.u8()?;
        if version != VERSION {
            return Err(IdentityError::Unsupported {
                object: REPLY,
                version,
                algorithm: 0,
            });
        }
        let chain = reader.block(MAX_CHAIN_BYTES)?;
        let bundle = reader.block(MAX_BUNDLE_BYTES)?;
        let list = reader.block(MAX_LIST_IN_REPLY)?;
        if let Some((token, exporter)) = token {
            let authenticated = &bytes[..bytes.len() - reader.remaining()];
            let mac = reader.array()?;
            TokenKey::of(token).verify(Message::Reply, exporter, authenticated, mac)?;
        }
        reader.finish()?;
        Ok(Self {
            chain: IssuedChain::decode(chain)?,
            bundle: TrustBundle::decode(bundle)?,
            revocations: match list {
                [] => None,
                list => Some(RevocationList::decode(list)?),
            },
        })
    }

    /// The trust that a joiner starts with: the pinned root must be in the bundle and have issued the network.
    pub(super) fn first_trust(&self, token: &JoinToken) -> Result<Trust, IdentityError> {
        let issuer: KeyId = self.chain.chain.network.issuer();
        let pinned = self.bundle.pinned(&token.fingerprint());
        let root: &Certificate = pinned
            .map(|root| &root.certificate)
            .filter(|root| root.falcon().id() == issuer)
            .ok_or(IdentityError::UnknownIssuer { object: REPLY })?;
        debug_assert_eq!(root.network(), self.bundle.network());
        let trust = Trust::new(self.bundle.clone());
        match &self.revocations {
            None => Ok(trust),
            Some(list) => trust.with_revocations(list.clone()),
        }
    }
}
