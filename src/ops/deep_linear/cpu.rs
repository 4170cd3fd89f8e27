//! The CPU takes the layers one by one: nothing is lost between them there.

use super::{Chain, ChainOut, DeepLinear};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::In;
use crate::{Error, Result};

impl<T: Float> DeepLinear for Cpu<T> {
    fn has_deep_linear(&mut self, _: &Chain) -> bool {
        false
    }

    fn deep_linear(&mut self, _: &Chain, _: In, _: In, _: In, _: ChainOut) -> Result<()> {
        Err(Error::operator("deep_linear", "a backend that has it", "the CPU"))
    }
}
