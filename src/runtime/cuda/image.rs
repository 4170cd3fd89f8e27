//! What the build compiled of a file of kernels: compressed in the program, and unpacked where a device loads it.

use super::nvrtc::Target;
use crate::{Error, Result};
use lzma_rust2::LzipReader;
use std::io::Read;

/// A file of kernels, as the build compiled it.
#[derive(Debug)]
pub struct Image {
    /// The file: its place in [`super::kernels::SOURCES`].
    pub source: usize,
    /// The target that it was compiled for.
    pub target: Target,
    /// The cubin, or the PTX with a terminating 0, compressed (lzip).
    pub packed: &'static [u8],
    /// Its bytes before that.
    pub bytes: usize,
}

impl Image {
    /// The cubin, or the PTX with a terminating 0. Errors: the program is damaged; `name` is that of the file.
    pub fn unpacked(&self, name: &str) -> Result<Vec<u8>> {
        let mut code = Vec::with_capacity(self.bytes);
        // One byte more than there should be shows what is too long.
        let read = LzipReader::new(self.packed).take(self.bytes as u64 + 1).read_to_end(&mut code);
        let problem = match read {
            Ok(_) if code.len() == self.bytes => return Ok(code),
            Ok(_) => format!("{} bytes were expected, at least {} found", self.bytes, code.len()),
            Err(error) => error.to_string(),
        };
        Err(Error::device("this program", format!("unpack kernels/{name}.cu for {:?}", self.target), problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_code_is_unpacked_whole_or_refused() {
        // What the program lzip makes of a hundred bytes of `a`, and the same with another sum.
        let packed = b"\x4c\x5a\x49\x50\x01\x0c\x00\x30\xee\x9f\x07\xff\xff\xff\xff\x80\x00\x00\x00\x64\
            \x7a\x70\xaf\x64\x00\x00\x00\x00\x00\x00\x00\x27\x00\x00\x00\x00\x00\x00\x00";
        let mut damaged = *packed;
        damaged[19] ^= 1;
        let of = |packed: &[u8], bytes| {
            Image { source: 0, target: Target::Cubin(90), packed: Box::leak(packed.into()), bytes }.unpacked("conv")
        };
        assert_eq!(of(packed, 100).unwrap(), [b'a'; 100]);
        for (packed, bytes) in [(&packed[..], 99), (packed, 101), (&packed[..9], 100), (&damaged, 100), (b"", 100)] {
            let error = of(packed, bytes).unwrap_err();
            assert!(error.exit_code() == 3 && error.to_string().contains("kernels/conv.cu"), "{error}");
        }
    }
}
