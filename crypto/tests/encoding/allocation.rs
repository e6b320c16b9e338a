//! Decoding allocates at most a constant times its input, however the input is made.

#![allow(
    unsafe_code,
    reason = "an allocator that counts can be written in no other way"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use tagma_crypto::encode::bincode::de::{BorrowDecoder, Decoder};
use tagma_crypto::encode::bincode::{self, error::DecodeError as Malformed};
use tagma_crypto::encode::{Decode, MAX_INPUT, decode, encode};
use tagma_crypto::{Blob, Digest, List, Text};

use crate::messages::{Message, attack, counts};

/// All bytes asked for in one decoding, the ones given back included, may be this many times the input, and `SMALL` more.
/// The worst there is: an empty blob takes 8 bytes of input and 32 of memory (×4), a growing vector's
/// capacities add up to less than four times its length (×16). A first growth is to four items of up to 96 bytes.
const FACTOR: usize = 16;
const SMALL: usize = 4 * 96;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATED.with(|allocated| allocated.set(allocated.get().saturating_add(bytes)));
}

// SAFETY: every call goes to the system's allocator as it is; counting touches only a thread-local number, which is
// initialised without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes, checks what that allocated in total, and gives it (in bytes) and whether decoding succeeded.
fn measured<T: Decode<()>>(input: &[u8]) -> (usize, bool) {
    let before = ALLOCATED.get();
    let decoded = decode::<T>(input, MAX_INPUT);
    let allocated = ALLOCATED.get() - before;
    let most = FACTOR * input.len() + SMALL;
    let name = std::any::type_name::<T>();
    assert!(
        allocated <= most,
        "{name}: {} bytes made decoding allocate {allocated}",
        input.len()
    );
    (allocated, decoded.is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_input_makes_decoding_allocate_beyond_measure(input in attack()) {
        measured::<Message>(&input);
        measured::<List<Blob>>(&input);
        measured::<List<List<List<u8>>>>(&input);
        measured::<List<(Text, Option<Digest>)>>(&input);
    }

    #[test]
    fn a_length_bomb_costs_nothing(count in counts(), rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bomb = [&count.to_le_bytes()[..], &rest].concat();
        for (allocated, decoded) in [measured::<Blob>(&bomb), measured::<Text>(&bomb)] {
            prop_assert!(allocated <= rest.len() + 64, "{} for {} bytes", allocated, rest.len());
            prop_assert!(!decoded || count == rest.len() as u64);
        }
        measured::<List<u8>>(&bomb);
        measured::<List<Digest>>(&bomb);
        measured::<List<List<u64>>>(&bomb);
        measured::<(u64, List<Blob>)>(&[&count.to_le_bytes()[..], &bomb].concat());
    }
}

#[test]
fn counting_counts() {
    let before = ALLOCATED.get();
    let blob = Blob::from(vec![1; 10_000]);
    assert!(ALLOCATED.get() - before >= 10_000);
    let (allocated, decoded) = measured::<Blob>(&encode(&blob));
    assert!(decoded && allocated >= 10_000);
}

#[test]
fn large_inputs_stay_within_the_factor() {
    // The dearest contents there are: many containers with nothing in them, and counts that promise more than is there.
    let empty = encode(&List::from(vec![Blob::default(); 100_000]));
    let (allocated, decoded) = measured::<List<Blob>>(&empty);
    assert!(
        decoded,
        "an honest list of {} bytes took {allocated}",
        empty.len()
    );
    let promising: Vec<u8> = std::iter::repeat_n(100_u64.to_le_bytes(), 100_000)
        .flatten()
        .collect();
    measured::<List<List<Blob>>>(&promising);
    measured::<List<List<List<List<u64>>>>>(&promising);
    measured::<List<Text>>(&promising);
}

/// Takes no bytes, yet is not of size zero.
#[derive(Debug)]
struct Nothing(#[expect(dead_code, reason = "only there to take room")] u64);

impl<Context> Decode<Context> for Nothing {
    fn decode<D: Decoder<Context = Context>>(_: &mut D) -> Result<Self, Malformed> {
        Ok(Self(0))
    }
}

impl<'de, Context> bincode::BorrowDecode<'de, Context> for Nothing {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(_: &mut D) -> Result<Self, Malformed> {
        Ok(Self(0))
    }
}

#[test]
fn items_that_take_no_bytes_cannot_be_multiplied() {
    fn refused<T: Decode<()> + std::fmt::Debug>() {
        for count in [1, 2, 100, 1 << 28, u64::MAX] {
            for rest in [0, 1, 1000] {
                let mut bomb = count.to_le_bytes().to_vec();
                bomb.resize(8 + rest, 0);
                let (allocated, decoded) = measured::<List<T>>(&bomb);
                assert!(
                    !decoded && allocated <= 64,
                    "{count} items of nothing in {} bytes",
                    bomb.len()
                );
            }
        }
        assert!(
            decode::<List<T>>(&[0; 8], 8).is_ok(),
            "an empty list has no such items"
        );
    }
    refused::<()>();
    refused::<[(); 3]>();
    refused::<Nothing>();
    refused::<(Nothing, ())>();
    // Within lists, where each inner count could claim all that is left of the input.
    let promising: Vec<u8> = std::iter::repeat_n(1000_u64.to_le_bytes(), 2000)
        .flatten()
        .collect();
    let (allocated, decoded) = measured::<List<List<Nothing>>>(&promising);
    assert!(!decoded && allocated <= SMALL, "{allocated}");
}
