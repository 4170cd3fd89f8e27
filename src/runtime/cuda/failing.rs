//! A driver that fails when told to, for tests of what happens when a device fails.

use super::driver::{Arg, Driver, Gemm, Graph, Grid, Kernel, Properties, Region};
use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};

/// The kind of call that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An allocation: the error is that memory has run out.
    Allocation,
    /// A launch or a dense product: the error is that the device is lost.
    Launch,
    /// A copy to or from the device: the error is that the device is lost.
    Copy,
}

/// Another driver whose n-th allocation, launch or copy fails, and every call after it.
pub struct Failing<D> {
    inner: D,
    failure: Failure,
    left: u64,
}

impl<D: Driver> Failing<D> {
    /// Wraps `inner`, and makes its `nth` allocation, launch or copy fail (counted from 1).
    pub fn new(inner: D, failure: Failure, nth: u64) -> Self {
        Failing { inner, failure, left: nth }
    }

    fn count(&mut self, what: Failure) -> Result<()> {
        if what != self.failure {
            return Ok(());
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return Ok(());
        }
        Err(match what {
            Failure::Allocation => Error::device(&self.inner.properties().name, "allocate memory", "out of memory"),
            Failure::Launch => Error::device(&self.inner.properties().name, "launch a kernel", "the device is lost"),
            Failure::Copy => Error::device(&self.inner.properties().name, "copy", "the device is lost"),
        })
    }
}

impl<D: Driver> Driver for Failing<D> {
    fn properties(&self) -> &Properties {
        self.inner.properties()
    }
    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()> {
        self.count(Failure::Allocation)?;
        self.inner.allocate(arena, bytes)
    }
    fn guarded(&self) -> bool {
        self.inner.guarded()
    }
    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()> {
        self.count(Failure::Copy)?;
        self.inner.upload(to, bytes)
    }
    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()> {
        self.count(Failure::Copy)?;
        self.inner.download(from, bytes)
    }
    fn copy(&mut self, from: Region, to: Region) -> Result<()> {
        self.count(Failure::Copy)?;
        self.inner.copy(from, to)
    }
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        self.count(Failure::Launch)?;
        self.inner.launch(kernel, grid, args)
    }
    fn gemm(&mut self, product: Gemm) -> Result<()> {
        self.count(Failure::Launch)?;
        self.inner.gemm(product)
    }
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        self.inner.begin_graph(key)
    }
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        self.inner.end_graph(key, good)
    }
    fn synchronize(&mut self) -> Result<()> {
        self.inner.synchronize()
    }
    fn mark(&mut self, which: usize) -> Result<()> {
        self.inner.mark(which)
    }
    fn elapsed(&mut self) -> Result<f64> {
        self.inner.elapsed()
    }
}
