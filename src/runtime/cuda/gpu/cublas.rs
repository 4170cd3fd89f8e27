//! cuBLAS, for the dense product of large matrices. It is looked for when the first product is asked for; without it the hand-written kernels do all
//! products.

use crate::runtime::cuda::driver::Gemm;
use crate::runtime::cuda::places::folders;
use crate::runtime::tensor::DType;
use crate::{Error, Result};
use libloading::Library;
use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};

type Handle = *mut c_void;
type Create = unsafe extern "C" fn(*mut Handle) -> c_int;
type Destroy = unsafe extern "C" fn(Handle) -> c_int;
type SetStream = unsafe extern "C" fn(Handle, *mut c_void) -> c_int;
type SetWorkspace = unsafe extern "C" fn(Handle, *mut c_void, usize) -> c_int;
type GemmEx = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
) -> c_int;

/// The size of the workspace, in bytes: what NVIDIA recommends for Hopper. A fixed workspace makes results the same on every run.
pub const WORKSPACE: usize = 32 << 20;

/// The loaded library, with a handle on one stream.
pub struct Cublas {
    library: Library,
    path: PathBuf,
    handle: Handle,
    // cuBLAS needs it, and does not find it by itself where it was opened by full path.
    _lt: Option<Library>,
}

/// Opens the first library with one of the `names` in one of the `folders`, or one that the loader finds by itself.
fn open(folders: &[PathBuf], names: &[&str]) -> Option<(Library, PathBuf)> {
    let full = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    // The variable may name the library itself; and the loader's own folders come last.
    let all = full.chain(folders.iter().take(1).cloned()).chain(names.iter().map(PathBuf::from));
    // SAFETY: NVIDIA's libraries run nothing of ours when they are loaded.
    all.filter_map(|path| Some((unsafe { Library::new(&path) }.ok()?, path))).next()
}

fn own() -> Option<PathBuf> {
    option_env!("CARGO_MANIFEST_DIR").map(|root| Path::new(root).join("target/cuda"))
}

/// Finds the libraries; cublasLt first, because cublas needs it.
pub fn find() -> Option<(Library, PathBuf, Option<Library>)> {
    let folders = folders("CUBLAS_PATH", "cublas", own());
    let lt = open(&folders, &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]);
    let (library, path) = open(&folders, &["libcublas.so.13", "libcublas.so.12", "libcublas.so"])?;
    Some((library, path, lt.map(|(library, _)| library)))
}

impl Cublas {
    /// Opens cuBLAS on `stream`, with `workspace` on the device. Errors: it is not there, or does not start.
    pub fn open(stream: *mut c_void, workspace: *mut c_void) -> Result<Cublas> {
        let Some((library, path, lt)) = find() else {
            return Err(Error::Missing {
                what: "cuBLAS".into(),
                looked: "CUBLAS_PATH, a CUDA toolkit, the Python package nvidia-cublas and the loader's folders".into(),
            });
        };
        let mut cublas = Cublas { library, path, handle: std::ptr::null_mut(), _lt: lt };
        let mut handle = std::ptr::null_mut();
        // SAFETY: the functions have these types in every cuBLAS; stream and workspace are the caller's, on the current device.
        unsafe {
            cublas.done("start cuBLAS", cublas.get::<Create>("cublasCreate_v2")?(&mut handle))?;
            cublas.handle = handle;
            cublas.done("give cuBLAS a stream", cublas.get::<SetStream>("cublasSetStream_v2")?(handle, stream))?;
            let set = cublas.get::<SetWorkspace>("cublasSetWorkspace_v2")?;
            cublas.done("give cuBLAS a workspace", set(handle, workspace, WORKSPACE))?;
        }
        Ok(cublas)
    }

    /// # Safety
    /// `F` is the function's type.
    unsafe fn get<F: Copy>(&self, name: &str) -> Result<F> {
        // SAFETY: by the caller's promise.
        let found = unsafe { self.library.get::<F>(name.as_bytes()) };
        found.map(|f| *f).map_err(|e| Error::device("cuBLAS", format!("find {name}"), e.to_string()))
    }

    fn done(&self, action: &str, status: c_int) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        Err(Error::device("cuBLAS", action, format!("status {status} from {}", self.path.display())))
    }

    /// Computes a product; `a`, `b` and `out` are the device addresses of its matrices.
    pub fn gemm(&self, product: &Gemm, a: u64, b: u64, out: u64) -> Result<()> {
        let int =
            |n: usize| c_int::try_from(n).map_err(|_| Error::operator("gemm", "extents below 2^31", n.to_string()));
        let (m, n, k) = (int(product.m)?, int(product.n)?, int(product.k)?);
        let data = |dtype: DType| if dtype == DType::Bf16 { 14 } else { 0 };
        // CUBLAS_COMPUTE_32F for bf16, 32F_FAST_TF32, or 32F_PEDANTIC: exact f32.
        let compute = match (product.operands, product.tf32) {
            (DType::Bf16, _) => 68,
            (_, true) => 77,
            (_, false) => 69,
        };
        let (one, zero) = (1.0f32, 0.0f32);
        // cuBLAS is column-major: it is asked for outᵀ = bᵀ aᵀ, which lies as out does row by row.
        let (op_b, ld_b) = if product.b.transposed { (1, k) } else { (0, n) };
        let (op_a, ld_a) = if product.a.transposed { (1, m) } else { (0, k) };
        // SAFETY: the type is that of every cuBLAS; the regions hold the matrices, as `Gemm` says.
        let status = unsafe {
            self.get::<GemmEx>("cublasGemmEx")?(
                self.handle,
                op_b,
                op_a,
                n,
                m,
                k,
                (&raw const one).cast(),
                b as *const c_void,
                data(product.operands),
                ld_b,
                a as *const c_void,
                data(product.operands),
                ld_a,
                (&raw const zero).cast(),
                out as *mut c_void,
                data(product.result),
                n,
                compute,
                -1,
            )
        };
        self.done("multiply matrices", status)
    }
}

impl Drop for Cublas {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's, and nothing uses it any more.
        unsafe {
            if let (false, Ok(destroy)) = (self.handle.is_null(), self.get::<Destroy>("cublasDestroy_v2")) {
                destroy(self.handle);
            }
        }
    }
}
