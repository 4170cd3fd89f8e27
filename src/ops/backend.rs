//! The list of all operators, on one screen.

use super::activation::Activate;
use super::conv2d::Conv2d;
use super::cross_entropy::CrossEntropy;
use super::deep_linear::DeepLinear;
use super::distribution::Distribution;
use super::gather::Gather;
use super::linear::Linear;
use super::max_pool2d::MaxPool2d;
use super::noise::Noise;
use super::norm::Norm;
use super::norm::renorm::Renorm;
use super::running::Running;
use super::sgd::Sgd;
use super::squared_error::SquaredError;
use super::step::Step;
use super::vector::Vector;
use super::weight_norm::WeightNorm;
use crate::runtime::storage::Storage;

/// A device that has memory and every operator. `main` picks one; all other code is generic over it.
pub trait Backend:
    Storage
    + Conv2d
    + Linear
    + Norm
    + Renorm
    + Noise
    + Running
    + Activate
    + MaxPool2d
    + DeepLinear
    + Distribution
    + Gather
    + CrossEntropy
    + SquaredError
    + Sgd
    + Step
    + Vector
    + WeightNorm
{
}

impl<B> Backend for B where
    B: Storage
        + Conv2d
        + Linear
        + Norm
        + Renorm
        + Noise
        + Running
        + Activate
        + MaxPool2d
        + DeepLinear
        + Distribution
        + Gather
        + CrossEntropy
        + SquaredError
        + Sgd
        + Step
        + Vector
        + WeightNorm
{
}
