//! The RDMA devices of this machine.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::context::Context;
use super::raw::library::{Library, LoadError, library};
use super::raw::made;
use super::raw::types::{ibv_context, ibv_device};

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// libibverbs cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel has no RDMA.
    #[error(
        "this kernel offers no RDMA devices to programs ({source}): load the module ib_uverbs \
         and that of the device (modprobe mlx5_ib, rdma_rxe, ...), or use the tcp transport"
    )]
    NoKernelSupport {
        /// The cause.
        source: io::Error,
    },
    /// The devices cannot be listed.
    #[error("cannot list the RDMA devices: {source}")]
    List {
        /// The cause.
        source: io::Error,
    },
    /// There is no device of this name.
    #[error(
        "there is no RDMA device '{wanted}'; libibverbs offers [{}], the kernel has [{}]: name \
         one of the first, and for one that only the kernel has install its provider \
         (ibverbs-providers on Debian, libibverbs on Fedora) and let this user open \
         /dev/infiniband/uverbs* (in a container, pass them in)",
        .present.join(", "),
        .kernel.join(", ")
    )]
    NoSuchDevice {
        /// The name that was looked for.
        wanted: String,
        /// Devices that can be opened.
        present: Vec<String>,
        /// Devices in `/sys/class/infiniband`.
        kernel: Vec<String>,
    },
    /// The device cannot be opened.
    #[error(
        "cannot open RDMA device {device}: {source}; this user needs /dev/infiniband/uverbs* \
         (in a container, pass the device in)"
    )]
    Open {
        /// The device.
        device: String,
        /// The cause.
        source: io::Error,
    },
}

/// The devices that were there when the list was made.
pub struct DeviceList {
    /// An array of `count` devices, made by the library.
    list: NonNull<*mut ibv_device>,
    count: usize,
    functions: &'static Library,
}

impl DeviceList {
    /// Opens libibverbs if that was not done yet, and asks it for the devices. There may be none.
    pub fn new() -> Result<Self, DeviceError> {
        let functions = library()?;
        let mut count: c_int = 0;
        // SAFETY: a pointer to an integer that the call may write.
        let list = unsafe { (functions.ibv_get_device_list)(&raw mut count) };
        match made(list) {
            Ok(list) => Ok(Self { list, count: usize::try_from(count).unwrap_or(0), functions }),
            Err(source) if source.raw_os_error() == Some(libc::ENOSYS) => {
                Err(DeviceError::NoKernelSupport { source })
            }
            Err(source) => Err(DeviceError::List { source }),
        }
    }

    /// The devices, in the library's order.
    pub fn iter(&self) -> impl Iterator<Item = Device<'_>> {
        (0..self.count).filter_map(|at| {
            // SAFETY: the array has `count` elements and lives as long as `self`.
            let raw = NonNull::new(unsafe { *self.list.as_ptr().add(at) })?;
            Some(Device { raw, functions: self.functions, list: PhantomData })
        })
    }

    /// The device of this name, such as `mlx5_0` or `rxe0`.
    pub fn find(&self, name: &str) -> Result<Device<'_>, DeviceError> {
        self.iter().find(|device| device.name() == name).ok_or_else(|| DeviceError::NoSuchDevice {
            wanted: name.to_owned(),
            present: self.iter().map(|device| device.name()).collect(),
            kernel: kernel_devices(),
        })
    }
}

impl fmt::Debug for DeviceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: the array that the library made, freed once; devices that were opened stay
        // (the library counts references), and every `Device` borrows `self`.
        unsafe { (self.functions.ibv_free_device_list)(self.list.as_ptr()) };
    }
}

/// What the kernel has, whether libibverbs can use it or not.
fn kernel_devices() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/infiniband") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// What a device is at the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    /// A channel adapter: InfiniBand or RoCE.
    ChannelAdapter,
    /// An iWARP adapter: RDMA over TCP, which we do not use.
    Iwarp,
    /// Anything else, by its number in `enum ibv_node_type`.
    Other(i32),
}

/// One device of a list.
#[derive(Clone, Copy)]
pub struct Device<'list> {
    raw: NonNull<ibv_device>,
    functions: &'static Library,
    list: PhantomData<&'list DeviceList>,
}

impl Device<'_> {
    /// The kernel's name of it.
    pub fn name(&self) -> String {
        // SAFETY: the device is alive as long as the list that it borrows. The name is an array in
        // it that ends with a null byte; it is copied at once.
        let name =
            unsafe { CStr::from_ptr((self.functions.ibv_get_device_name)(self.raw.as_ptr())) };
        name.to_string_lossy().into_owned()
    }

    /// Its world-wide number; 0 if it has none.
    pub fn guid(&self) -> u64 {
        // SAFETY: the device is alive, see `name`.
        u64::from_be(unsafe { (self.functions.ibv_get_device_guid)(self.raw.as_ptr()) })
    }

    /// What it is.
    pub fn node_type(&self) -> NodeType {
        // SAFETY: the device is alive, see `name`; this member is set before it is listed.
        match unsafe { (*self.raw.as_ptr()).node_type } {
            1 => NodeType::ChannelAdapter,
            4 => NodeType::Iwarp,
            other => NodeType::Other(other),
        }
    }

    /// Opens it for use.
    pub fn open(&self) -> Result<Context, DeviceError> {
        let failed = |source| DeviceError::Open { device: self.name(), source };
        // SAFETY: the device is alive, see `name`.
        let context: *mut ibv_context =
            unsafe { (self.functions.ibv_open_device)(self.raw.as_ptr()) };
        let context = made(context).map_err(failed)?;
        // SAFETY: just opened by this library, and nobody else has it.
        unsafe { Context::from_raw(context, self.functions, self.name()) }.map_err(failed)
    }
}

impl fmt::Debug for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name())
            .field("guid", &format_args!("{:#018x}", self.guid()))
            .field("node_type", &self.node_type())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_device_has_ends_with_what_there_is_or_why_there_is_nothing() {
        let error = match DeviceList::new() {
            Ok(list) => list.find("no-such-device").map(|device| device.name()),
            Err(error) => Err(error),
        };
        let error = error.expect_err("nobody names a device so");
        println!("{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        if let DeviceError::NoSuchDevice { wanted, .. } = error {
            assert_eq!(wanted, "no-such-device");
        }
    }
}
