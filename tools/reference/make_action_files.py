"""Write tests/golden/actions: the same actions in every format that can be read, as Python writes them.

    python make_action_files.py --out tests/golden/actions

Frame f of 5 holds key k of 3 where f + k is odd, and moves the mouse by (0.25 f, -0.5 f). Exact in every type.
"""

import argparse
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    out = pathlib.Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)
    frames = np.arange(5)
    keyboard = (frames[:, None] + np.arange(3)[None]) % 2
    mouse = np.stack([0.25 * frames, -0.5 * frames], axis=1)
    arrays = {"keyboard": keyboard.astype(np.float32), "mouse": mouse}
    np.savez(out / "stored.npz", keyboard=keyboard.astype(bool), mouse=np.asfortranarray(mouse.astype(np.float32)))
    np.savez_compressed(out / "deflated.npz", **arrays)
    np.save(out / "keyboard.npy", keyboard.astype(np.int64))
    np.save(out / "fastvideo.npy", arrays, allow_pickle=True)
    pq.write_table(pa.table({"keyboard": [row.tolist() for row in keyboard], "mouse": [row.tolist() for row in mouse]}),
                   out / "lists.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(keyboard.astype(np.uint8).ravel()), 3)
    pq.write_table(pa.table({"keyboard": fixed, "frame": frames}), out / "keyboard.parquet")
    with open(out / "lines.jsonl", "w") as file:
        for keys, move in zip(keyboard, mouse):
            file.write(json.dumps({"keyboard": [bool(key) for key in keys], "mouse": move.tolist()}) + "\n")
    with open(out / "columns.csv", "w") as file:
        file.write("frame,keyboard_0,keyboard_1,keyboard_2,mouse_0,mouse_1\n")
        for frame, keys, move in zip(frames, keyboard, mouse):
            file.write(",".join(str(value) for value in [frame, *keys, *move]) + "\n")


if __name__ == "__main__":
    main()
