//! The certificates of one node, as they are stored, sent and shown.
//!
//! `NodeChain` is what another node needs to check a signature: node and network certificate, each behind its 32-bit
//! length, about 6.5 KB. `IssuedChain` adds the two TLS certificates and is what an issuer hands out.

use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, MAX_CERTIFICATE_BYTES};
use super::codec::{Reader, put_block};
use super::error::IdentityError;
use super::keys::Keys;
use super::tls_certificate::{MAX_TLS_CERTIFICATE_BYTES, TlsName, name_of, spki_of};
use super::trust::Trust;

/// Largest encoded chain that lets a stranger check a signature, bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 2 * (4 + MAX_CERTIFICATE_BYTES);
/// Largest encoded chain with its TLS certificates, bytes.
pub(super) const MAX_CHAIN_BYTES: usize =
    MAX_CREDENTIAL_BYTES + 2 * (4 + MAX_TLS_CERTIFICATE_BYTES);

/// A node's certificate and its issuer's.
#[derive(Clone, Debug)]
pub(super) struct NodeChain {
    pub(super) node: Certificate,
    pub(super) network: Certificate,
}

impl NodeChain {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_block(out, self.node.as_bytes());
        put_block(out, self.network.as_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, IdentityError> {
        Ok(Self {
            node: Certificate::decode(reader.block(MAX_CERTIFICATE_BYTES)?)?,
            network: Certificate::decode(reader.block(MAX_CERTIFICATE_BYTES)?)?,
        })
    }

    /// Reads a credential.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new("credential", bytes, MAX_CREDENTIAL_BYTES)?;
        let chain = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(chain)
    }
}

/// All four certificates.
#[derive(Clone, Debug)]
pub(super) struct IssuedChain {
    pub(super) chain: NodeChain,
    pub(super) tls_node: CertificateDer<'static>,
    pub(super) tls_network: CertificateDer<'static>,
}

impl IssuedChain {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_CHAIN_BYTES);
        self.chain.put(&mut bytes);
        put_block(&mut bytes, &self.tls_node);
        put_block(&mut bytes, &self.tls_network);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new("certificate chain", bytes, MAX_CHAIN_BYTES)?;
        let chain = NodeChain::read(&mut reader)?;
        let mut tls = || {
            let der = reader.block(MAX_TLS_CERTIFICATE_BYTES)?;
            Ok(CertificateDer::from(der.to_vec()))
        };
        let (tls_node, tls_network) = (tls()?, tls()?);
        reader.finish()?;
        Ok(Self {
            chain,
            tls_node,
            tls_network,
        })
    }

    /// Refuses a chain that is not believed, or is not for `keys`, or whose TLS half is another node's.
    pub(super) fn check(&self, keys: &Keys, trust: &Trust, now: u64) -> Result<(), IdentityError> {
        let NodeChain { node, network } = &self.chain;
        let mismatch = |reason| Err(IdentityError::BindingMismatch { reason });
        let spki = keys.tls.spki();
        if node.falcon() != keys.falcon.public() || node.tls_spki() != spki {
            return mismatch("the certificate is for other keys");
        }
        if name_of(&self.tls_node)? != TlsName::Node(node.network(), node.node_id())
            || spki_of(&self.tls_node)? != spki
        {
            return mismatch("the TLS certificate is another node's");
        }
        if name_of(&self.tls_network)? != TlsName::Network(network.falcon().id())
            || spki_of(&self.tls_network)? != network.tls_spki()
        {
            return mismatch(
                "the issuer's TLS certificate has other keys than its node certificate",
            );
        }
        trust.check_node(node, network, now)
    }
}
