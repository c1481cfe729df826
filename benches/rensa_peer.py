"""Times PyPI `rensa` on shingle hashes that the bench wrote: `rensa_peer.py FOLDER PERMUTATIONS`.

FOLDER holds `shingles.u64` (all hashes, little-endian) and `offsets.u64` (where each document begins, and the end).
Prints `name<TAB>seconds` for each of rensa's ways from hashes to signatures. The hashes are in memory before the
clock starts, in the flat form that costs rensa least; no string is hashed on either side. The seconds are processor
time, so that what else the machine does counts on neither side.
"""

import array
import pathlib
import sys
import time

import rensa


def read(path: pathlib.Path) -> array.array:
    values = array.array("Q")
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def main() -> None:
    folder, permutations = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    hashes, offsets = read(folder / "shingles.u64"), read(folder / "offsets.u64")
    flat = {
        "RMinHash": rensa.RMinHash.digest_matrix_from_flat_token_hashes,
        "RMinHash, its one-pass `rho` sketch": rensa.RMinHash.digest_matrix_from_flat_token_hashes_rho,
    }
    for name, signatures in flat.items():
        begun = time.process_time()
        signatures(hashes, offsets, permutations, 42)
        print(f"{name}\t{time.process_time() - begun:.6f}")


main()
