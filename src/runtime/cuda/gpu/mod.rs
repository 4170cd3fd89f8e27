//! TEMPORARY: replaced by the driver of a real GPU.
use super::driver::*;
use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};
/// A GPU.
pub enum Gpu {}
impl Gpu {
    /// Opens it.
    pub fn open(_: u32) -> Result<Gpu> {
        Err(Error::Missing { what: "a GPU".into(), looked: "not in this build".into() })
    }
}
impl Driver for Gpu {
    fn properties(&self) -> &Properties {
        match *self {}
    }
    fn allocate(&mut self, _: ArenaId, _: usize) -> Result<()> {
        match *self {}
    }
    fn upload(&mut self, _: Region, _: &[u8]) -> Result<()> {
        match *self {}
    }
    fn download(&mut self, _: Region, _: &mut [u8]) -> Result<()> {
        match *self {}
    }
    fn copy(&mut self, _: Region, _: Region) -> Result<()> {
        match *self {}
    }
    fn launch(&mut self, _: &'static Kernel, _: Grid, _: &[Arg]) -> Result<()> {
        match *self {}
    }
    fn gemm(&mut self, _: Gemm) -> Result<()> {
        match *self {}
    }
    fn synchronize(&mut self) -> Result<()> {
        match *self {}
    }
}
