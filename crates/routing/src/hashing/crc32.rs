//! CRC-32 as zlib and nginx compute it (polynomial 0x04c11db7, reflected): the hash of ketama rings.

/// One step of each possible byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// A sum that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    /// Of nothing.
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// More bytes.
    pub(crate) fn update(self, bytes: &[u8]) -> Self {
        let sum = bytes.iter().fold(self.0, |crc, &byte| {
            TABLE[((crc ^ u32::from(byte)) & 255) as usize] ^ crc >> 8
        });
        Self(sum)
    }

    /// The sum.
    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }
}

/// CRC-32 of some bytes. As the key hash of a pick it makes `consistent-hash` decide what nginx's
/// `hash … consistent` decides.
pub fn crc32(bytes: &[u8]) -> u32 {
    Crc32::new().update(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
        let parts = Crc32::new().update(b"1234").update(b"56789");
        assert_eq!(parts.finish(), 0xcbf4_3926);
    }
}
