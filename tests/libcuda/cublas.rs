//! The functions of cuBLAS that normscape calls. A product is queued or recorded as a launch is.

#![allow(non_snake_case, reason = "the functions have the names that cuBLAS gives them")]
#![allow(clippy::missing_safety_doc, reason = "the contract is that of cuBLAS's manual")]

use super::codes::{CAPTURE_UNSUPPORTED, Done, INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED};
use super::state::Needs::{Current, LetsGo};
use super::state::{Blas, State, call};
use super::work::{Op, Product};
use normscape::runtime::tensor::DType;
use std::ffi::{c_int, c_void};

/// cuBLAS's code for one of the driver's.
fn status(code: u32) -> u32 {
    match code {
        0 => 0,
        INVALID_HANDLE => 1,
        INVALID_VALUE => 7,
        NOT_SUPPORTED => 15,
        // The product cannot be executed.
        _ => 13,
    }
}

/// A matrix of the caller's, column-major.
struct Matrix {
    address: u64,
    dtype: c_int,
    leading: c_int,
    transposed: bool,
}

fn dtype(number: c_int) -> Option<DType> {
    match number {
        0 => Some(DType::F32),
        14 => Some(DType::Bf16),
        _ => None,
    }
}

impl State {
    fn own_blas(&mut self, handle: usize) -> Done<&mut Blas> {
        self.own("handle of cuBLAS", self.blas.get(&handle).map(|blas| blas.context))?;
        self.blas.get_mut(&handle).ok_or(INVALID_HANDLE)
    }

    fn product(
        &mut self,
        handle: usize,
        [m, n, k]: [c_int; 3],
        factors: [f32; 2],
        [a, b, out]: [Matrix; 3],
        compute: c_int,
    ) -> Done {
        let &mut Blas { stream, workspace, .. } = self.own_blas(handle)?;
        if !workspace {
            return self.breach(CAPTURE_UNSUPPORTED, "without memory of the caller's, cuBLAS allocates some");
        }
        let (Ok(rows), Ok(columns), Ok(terms)) = (usize::try_from(n), usize::try_from(m), usize::try_from(k)) else {
            return self.breach(INVALID_VALUE, format!("a product of {m}×{n}×{k}"));
        };
        // Dense matrices only: row-major, the caller's first operand is the right one.
        let leading = [if a.transposed { k } else { m }, if b.transposed { n } else { k }, m];
        if leading != [a.leading, b.leading, out.leading] || factors != [1.0, 0.0] {
            return self.not_modelled("products of parts of matrices, or that add to the result");
        }
        let types = (dtype(a.dtype), a.dtype == b.dtype, dtype(out.dtype), compute);
        let (operands, result, tf32) = match types {
            (Some(DType::Bf16), true, Some(result), 68) => (DType::Bf16, result, false),
            (Some(DType::F32), true, Some(result), 69 | 77) => (DType::F32, result, compute == 77),
            _ => return self.not_modelled(&format!("products of these types, computed as {compute}")),
        };
        let operands_at = [(b.address, b.transposed), (a.address, a.transposed)];
        let product = Product {
            extents: [rows, columns, terms],
            operands: operands_at,
            out: out.address,
            types: [operands, result],
            tf32,
        };
        self.submit(stream, Op::Product(product))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasCreate_v2(handle: *mut usize) -> u32 {
    status(call("cublasCreate_v2", Current, |state| {
        state.forbidden_while_capturing()?;
        let (context, made) = (state.current(), state.handle());
        state.blas.insert(made, Blas { context, stream: 0, workspace: false });
        // SAFETY: the caller's pointer is valid.
        unsafe { handle.write(made) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasDestroy_v2(handle: usize) -> u32 {
    status(call("cublasDestroy_v2", LetsGo, |state| {
        state.own_blas(handle)?;
        state.blas.remove(&handle);
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetStream_v2(handle: usize, stream: usize) -> u32 {
    status(call("cublasSetStream_v2", Current, |state| {
        let blas = state.own_blas(handle)?;
        blas.stream = stream;
        // As cuBLAS's manual says: it goes back to memory of its own.
        blas.workspace = false;
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasSetWorkspace_v2(handle: usize, workspace: u64, bytes: usize) -> u32 {
    status(call("cublasSetWorkspace_v2", Current, |state| {
        if state.context()?.part(workspace, bytes).is_none() || !workspace.is_multiple_of(256) {
            return state.breach(INVALID_VALUE, format!("no {bytes} bytes of aligned memory are at {workspace:#x}"));
        }
        state.own_blas(handle)?.workspace = true;
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasGemmEx(
    handle: usize,
    transpose_a: c_int,
    transpose_b: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: u64,
    a_type: c_int,
    lda: c_int,
    b: u64,
    b_type: c_int,
    ldb: c_int,
    beta: *const c_void,
    c: u64,
    c_type: c_int,
    ldc: c_int,
    compute: c_int,
    _algorithm: c_int,
) -> u32 {
    status(call("cublasGemmEx", Current, |state| {
        // SAFETY: the caller's factors are floats in the host's memory, which is what a new handle takes.
        let factors = unsafe { [*alpha.cast::<f32>(), *beta.cast::<f32>()] };
        let matrices = [
            Matrix { address: a, dtype: a_type, leading: lda, transposed: transpose_a == 1 },
            Matrix { address: b, dtype: b_type, leading: ldb, transposed: transpose_b == 1 },
            Matrix { address: c, dtype: c_type, leading: ldc, transposed: false },
        ];
        state.product(handle, [m, n, k], factors, matrices, compute)
    }))
}
