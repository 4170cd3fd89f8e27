//! The devices over which a command's runs are spread, and those that are spare.

use super::device::Device;
use crate::train::helpers::{Opens, Spare};
use std::sync::{Arc, Mutex, PoisonError};

/// Which worker makes its runs on which device. A device without a worker is spare, and so is one whose workers find no more runs.
pub struct Spread {
    devices: Vec<Device>,
    /// The workers of each device that still make runs.
    working: Mutex<Vec<usize>>,
    spare: Arc<Spare>,
}

impl Spread {
    /// `workers` workers take `devices` in turn.
    pub fn new(devices: Vec<Device>, workers: usize) -> Spread {
        let each = |device: usize| (device..workers).step_by(devices.len().max(1)).count();
        let working = (0..devices.len()).map(each).collect();
        let unused = devices.iter().skip(workers).map(|&device| helper(device)).collect();
        Spread { spare: Arc::new(Spare::new(unused, workers)), working: Mutex::new(working), devices }
    }

    /// The number of devices.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// The device of a worker.
    pub fn of(&self, worker: usize) -> Device {
        self.devices[worker % self.devices.len()]
    }

    /// Notes that a worker finds no more runs.
    pub fn rests(&self, worker: usize) {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let place = worker % self.devices.len();
        working[place] = working[place].saturating_sub(1);
        let free = (working[place] == 0).then(|| helper(self.devices[place]));
        self.spare.add(free, working.iter().sum());
    }

    /// The devices that are spare.
    pub fn spare(&self) -> Arc<Spare> {
        self.spare.clone()
    }
}

fn helper(device: Device) -> Arc<dyn Opens> {
    Arc::new(device)
}
