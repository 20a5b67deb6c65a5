"""Plays a tiny game network with random weights in headless Chromium: `zoetrope play` itself, from the picture and the
keys to the page. What is checked is in play_test.py.

    play_game_test.py ZOETROPE [ARGUMENT OF play_test.py ...]"""
import array
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

import play_test

HEIGHT = WIDTH = 64


def write_png(path):
    """A picture with a colour gradient."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(value for column in range(WIDTH) for value in (4 * row, 4 * column, 128))
                    for row in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
                     + chunk(b"IEND", b""))


def fill_zero_weights(path):
    """Gives random values to the last layers, which begin at zero, so that actions change frames."""
    random.seed(1)
    weights = bytearray(path.read_bytes())
    header_size, = struct.unpack_from("<Q", weights)
    header = json.loads(weights[8:8 + header_size])
    for name, tensor in header.items():
        if not name.endswith(("proj_keyboard.weight", "proj_mouse.weight", "proj_out.weight")):
            continue
        begin, end = (8 + header_size + offset for offset in tensor["data_offsets"])
        values = array.array("f", (random.gauss(0, tensor["shape"][-1] ** -0.5) for _ in range((end - begin) // 4)))
        weights[begin:end] = values.tobytes()
    path.write_bytes(weights)


def make_model(zoetrope, folder):
    """A causal network; `init` writes the bidirectional one, which has tensors of the same names."""
    subprocess.run([zoetrope, "init", "tiny-game", folder, "--dtype", "fp32", "--components", "transformer", "vae",
                    "image_encoder"], check=True)
    fill_zero_weights(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text())
    config.update(_class_name="CausalMatrixGame2WanModel", local_attn_size=6, sink_size=0, num_frames_per_block=3)
    path.write_text(json.dumps(config))


def main():
    zoetrope = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_model(zoetrope, folder / "model")
        write_png(folder / "first.png")
        return play_test.main(sys.argv[2:] + ["--keys", "a", "d", "--", zoetrope, "play", str(folder / "model"),
                                              "--image", str(folder / "first.png")])


if __name__ == "__main__":
    sys.exit(main())
