//! Measures the reduction kernels: `cargo run --release -p onepath-collectives --example
//! reduce_speed [type...]`.
//!
//! One row per type and operation, for a block that stays in the L2 cache and for one that comes
//! from memory. A figure is bytes of result per second (10⁹), in place; beside it stands the ratio
//! to copying as many bytes, measured in the same rounds. `div` is the finish of `avg` alone, for
//! 6 ranks.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use onepath_collectives::reduce::{Isa, kernel_for};
use onepath_collectives::types::{DataType, ReduceOp};

/// Sizes of a block in bytes, and the rounds of which the best counts.
const SIZES: [(&str, usize, u32); 2] = [("L2, 128 KiB", 128 << 10, 40), ("64 MiB", 64 << 20, 5)];
const RANKS: u32 = 6;
/// How long a round lasts at least: far above the clock's resolution, and below a time slice, so
/// that some rounds run undisturbed on a busy machine.
const ROUND: Duration = Duration::from_micros(300);

struct Buffers {
    target: Vec<u8>,
    incoming: Vec<u8>,
}

/// Billions of bytes per second of `act`, which makes `bytes` of them.
fn speed(bytes: usize, mut act: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    loop {
        act();
        calls += 1;
        let elapsed = start.elapsed();
        if elapsed >= ROUND {
            return bytes as f64 * f64::from(calls) / elapsed.as_secs_f64() / 1e9;
        }
    }
}

fn copy_speed(buffers: &mut Buffers) -> f64 {
    speed(buffers.target.len(), || {
        black_box(&mut buffers.target).copy_from_slice(black_box(&buffers.incoming));
    })
}

/// Numbers between 1 and 2, so that no result is subnormal or infinite for long.
fn fill(data_type: DataType, buffers: &mut Buffers) {
    let one: &[u8] = match data_type {
        DataType::F32 => &1.0_f32.to_ne_bytes(),
        DataType::F64 => &1.0_f64.to_ne_bytes(),
        DataType::F16 => &0x3c00_u16.to_ne_bytes(),
        DataType::Bf16 => &0x3f80_u16.to_ne_bytes(),
        _ => &[1],
    };
    for buffer in [&mut buffers.target, &mut buffers.incoming] {
        for element in buffer.chunks_exact_mut(one.len()) {
            element.copy_from_slice(one);
        }
    }
}

fn kernel_speed(
    isa: Isa,
    data_type: DataType,
    op: ReduceOp,
    buffers: &mut Buffers,
) -> Result<f64, Box<dyn Error>> {
    let kernel = kernel_for(isa, data_type, op, RANKS)?;
    let bytes = buffers.target.len();
    let elements = bytes / kernel.element_bytes;
    let target = buffers.target.as_mut_ptr();
    let incoming = buffers.incoming.as_ptr();
    Ok(match kernel.finish {
        // SAFETY: the target is that many elements long.
        Some(finish) => speed(bytes, || unsafe {
            finish(black_box(target), elements, RANKS);
        }),
        // SAFETY: both are that many elements long, and apart.
        None => speed(bytes, || unsafe {
            (kernel.combine)(black_box(target), target, black_box(incoming), elements);
        }),
    })
}

fn row(
    isas: &[Isa],
    data_type: DataType,
    op: ReduceOp,
    rounds: u32,
    buffers: &mut Buffers,
) -> Result<(), Box<dyn Error>> {
    fill(data_type, buffers);
    let mut best = vec![0.0_f64; isas.len()];
    let mut copy = 0.0_f64;
    for _ in 0..rounds {
        for (best, &isa) in best.iter_mut().zip(isas) {
            *best = best.max(kernel_speed(isa, data_type, op, buffers)?);
        }
        copy = copy.max(copy_speed(buffers));
        fill(data_type, buffers);
    }
    let op = if op == ReduceOp::Avg { "div" } else { op.name() };
    print!("{data_type:<5} {op:<5} {copy:>8.1}");
    for speed in best {
        print!(" {speed:>8.1} {:>5.2}", speed / copy);
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut types = env::args().skip(1).map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
    if types.is_empty() {
        types = DataType::ALL.to_vec();
    }
    let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect();
    for (name, bytes, rounds) in SIZES {
        println!("# {name}: GB/s of results, and the ratio to copying");
        print!("type  op        copy");
        for isa in &isas {
            print!(" {isa:>8} ratio");
        }
        println!();
        let mut buffers = Buffers { target: vec![0; bytes], incoming: vec![0; bytes] };
        for &data_type in &types {
            for op in ReduceOp::ALL {
                row(&isas, data_type, op, rounds, &mut buffers)?;
            }
        }
    }
    Ok(())
}
