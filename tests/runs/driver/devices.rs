//! Several devices in one process, and cuBLAS: what no command asks for, but the library offers.

use super::{Ended, Machine};
use normscape::runtime::cuda::driver::{Driver, Gemm, Operand, Region};
use normscape::runtime::cuda::emulator::{Emulator, Options};
use normscape::runtime::cuda::gpu::{Gpu, Start};
use normscape::runtime::tensor::{ArenaId, DType};
use std::process::Command;

/// What a test in a process of its own came to.
enum Inside {
    /// This is that process: it does the work.
    Here,
    /// This machine has no stand-in.
    Nowhere,
    Ended(Ended),
}

/// Runs the test of this name once more, in a process of its own that finds the stand-in: the loader looks at its variables only when a process
/// starts.
fn inside(name: &str, stand_in: &str) -> Inside {
    const INSIDE: &str = "NORMSCAPE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return Inside::Here;
    }
    let Some(machine) = Machine::new() else { return Inside::Nowhere };
    let mut command = Command::new(std::env::current_exe().unwrap());
    machine.set_up(&mut command, stand_in);
    command.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    let ended = machine.ended(command.output().unwrap());
    assert!(ended.said.contains("1 passed"), "{}", ended.said);
    Inside::Ended(ended)
}

/// The same for work that must keep the driver's contract; false in the process that does it.
fn in_a_process_of_its_own(name: &str, stand_in: &str) -> bool {
    match inside(name, stand_in) {
        Inside::Here => return false,
        Inside::Nowhere => {}
        Inside::Ended(ended) => {
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            ended.clean(name);
        }
    }
    true
}

/// The whole of arena `number`, of `bytes` bytes.
fn whole(number: u32, bytes: usize) -> Region {
    Region { arena: ArenaId::numbered(number), offset: 0, bytes }
}

fn download(device: &mut impl Driver, from: Region) -> Vec<u8> {
    let mut found = vec![0; from.bytes];
    device.download(from, &mut found).unwrap();
    found
}

#[test]
fn two_devices_on_one_thread_do_not_disturb_each_other() {
    if in_a_process_of_its_own("driver::devices::two_devices_on_one_thread_do_not_disturb_each_other", "count=2") {
        return;
    }
    let (to, other) = (whole(0, 64), whole(1, 64));
    let mut devices = [0, 1].map(|number| Gpu::open(number).unwrap());
    for (device, value) in devices.iter_mut().zip([3, 4]) {
        device.allocate(to.arena, to.bytes).unwrap();
        device.allocate(other.arena, other.bytes).unwrap();
        device.upload(to, &[value; 64]).unwrap();
    }
    for (device, value) in devices.iter_mut().zip([3, 4]) {
        device.mark(0).unwrap();
        device.copy(to, other).unwrap();
        device.mark(1).unwrap();
        assert!(device.elapsed().unwrap() >= 0.0);
        assert_eq!(download(device, other), [value; 64]);
    }
    // Where one is let go, the other goes on; and it can be opened again.
    let [first, mut second] = devices;
    drop(first);
    assert_eq!(download(&mut second, to), [4; 64]);
    let mut again = Gpu::open(0).unwrap();
    again.allocate(to.arena, to.bytes).unwrap();
    assert_eq!(download(&mut again, to), [0; 64]);
    drop(second);
    assert_eq!(download(&mut again, to), [0; 64]);
}

#[test]
fn products_of_cublas_are_the_emulators() {
    if in_a_process_of_its_own("driver::devices::products_of_cublas_are_the_emulators", "") {
        return;
    }
    // Of different extents, so that none is taken for another.
    let (m, n, k) = (5, 7, 3);
    let bytes = |elements: usize| 4 * elements;
    let (a, b, out) = (whole(0, bytes(m * k)), whole(1, bytes(k * n)), whole(2, bytes(m * n)));
    let values = |count: usize, seed: usize| -> Vec<u8> {
        (0..count).flat_map(|i| (((i * 37 + seed) % 11) as f32 - 4.7).to_ne_bytes()).collect()
    };
    let products = |device: &mut dyn Driver| {
        assert!(device.has_gemm());
        for region in [a, b, out] {
            device.allocate(region.arena, region.bytes).unwrap();
        }
        device.upload(a, &values(m * k, 1)).unwrap();
        device.upload(b, &values(k * n, 2)).unwrap();
        let mut found = Vec::new();
        for (transposed, tf32) in [(0u32, false), (1, false), (2, true), (3, false)] {
            let operand = |region, place: u32| Operand { region, transposed: transposed >> place & 1 == 1 };
            let (a, b, operands) = (operand(a, 0), operand(b, 1), DType::F32);
            let product = Gemm { m, n, k, a, b, operands, tf32, out, result: DType::F32 };
            // Made, recorded and replayed.
            for _ in 0..3 {
                let key = 1 + u64::from(transposed);
                if device.begin_graph(key).unwrap() == normscape::runtime::storage::Graph::Make {
                    device.gemm(product).unwrap();
                    device.end_graph(key, true).unwrap();
                }
                let mut bytes = vec![0; out.bytes];
                device.download(out, &mut bytes).unwrap();
                found.push(bytes);
            }
        }
        found
    };
    let emulated = products(&mut Emulator::new(Options::default()).unwrap());
    let found = products(&mut Gpu::open(0).unwrap());
    assert_eq!(found, emulated);
    // And not all the same.
    assert!(found[0] == found[1] && found[0] != found[3]);
}

#[test]
fn what_is_written_between_tensors_is_found() {
    if in_a_process_of_its_own("driver::devices::what_is_written_between_tensors_is_found", "") {
        return;
    }
    let mut device = Gpu::open_with(0, Start::Guarded).unwrap();
    let all = whole(0, 256);
    device.allocate(all.arena, all.bytes).unwrap();
    device.guard(all.arena, &[64..96, 96..128]).unwrap();
    let part = Region { bytes: 64, ..all };
    assert_eq!(download(&mut device, part), [0xFF; 64]);
    device.upload(Region { offset: 127, bytes: 1, ..all }, &[0]).unwrap();
    let told = device.download(part, &mut [0; 64]).unwrap_err().to_string();
    assert!(told.contains("byte 127 of arena 0 was written"), "{told}");
}

#[test]
fn what_is_never_let_go_is_told() {
    match inside("driver::devices::what_is_never_let_go_is_told", "strict=1") {
        Inside::Here => {
            let mut device = Gpu::open(0).unwrap();
            device.allocate(ArenaId::numbered(0), 64).unwrap();
            std::mem::forget(device);
        }
        Inside::Nowhere => {}
        // The memory, a stream and two events; and the fill of the memory, which nobody waited for.
        Inside::Ended(ended) => {
            assert_eq!(ended.code, Some(77), "{}", ended.said);
            assert_eq!([ended.number("leaked"), ended.number("queued"), ended.number("retained")], [4, 1, 2]);
        }
    }
}
