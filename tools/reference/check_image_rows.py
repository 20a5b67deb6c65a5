"""Check the image features and actions that `zoetrope preprocess` writes against diffusers and transformers.

    python check_image_rows.py --zoetrope BINARY --assets assets/tiny-wan --work WORK [--large]

Makes a random image-to-video pipeline and a lossless video with actions in WORK, preprocesses it as i2v and matrixgame2
rows, and computes the same columns from the same pictures. --large takes an image encoder of Wan's size (ViT-H/14).
"""

import argparse
import pathlib
import shutil
import subprocess

import av
import numpy as np
import pyarrow.parquet as pq
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline
from PIL import Image
from transformers import CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HEIGHT, WIDTH, FRAMES, SOURCE_FPS, FPS = 32, 48, 9, 24, 16
TOLERANCE = 1e-5


def run(binary, *arguments):
    subprocess.run([binary, *map(str, arguments)], check=True)


def write_video(path):
    generator = np.random.default_rng(3)
    frames = generator.integers(0, 256, (20, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=SOURCE_FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return frames


def tensor_of(row, name):
    values = np.frombuffer(row[f"{name}_bytes"], dtype=row[f"{name}_dtype"])
    return torch.from_numpy(values.reshape(row[f"{name}_shape"]).copy())


def compare(name, found, expected):
    if found.shape != expected.shape:
        raise SystemExit(f"{name}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: {tuple(found.shape)}, largest difference {difference:.2e} of the largest value")
    if not difference <= TOLERANCE:
        raise SystemExit(f"{name}: differs by more than {TOLERANCE}")


@torch.no_grad()
def expected_features(pipeline, clip):
    vae = AutoencoderKLWan.from_pretrained(pipeline / "vae")
    encoder = CLIPVisionModel.from_pretrained(pipeline / "image_encoder", dtype=torch.float32)
    processor = CLIPImageProcessorPil.from_pretrained(pipeline / "image_processor")
    pixels = torch.from_numpy(clip).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    wan = WanImageToVideoPipeline(tokenizer=None, text_encoder=None, vae=vae, scheduler=None)
    _, condition = wan.prepare_latents(pixels[:, :, 0], 1, 16, HEIGHT, WIDTH, FRAMES, torch.float32,
                                       torch.device("cpu"))
    images = processor(images=Image.fromarray(clip[0]), return_tensors="pt")["pixel_values"]
    return {
        "vae_latent": vae.encode(pixels).latent_dist.mean[0],
        "first_frame_latent": condition[0, 4:],
        "clip_feature": encoder(pixel_values=images, output_hidden_states=True).hidden_states[-2][0],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoetrope", required=True)
    parser.add_argument("--assets", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline, videos = args.work / "pipeline", args.work / "videos"
    run(args.zoetrope, "init", "tiny-i2v", pipeline, "--dtype", "fp32", "--components", "transformer", "vae",
        "image_encoder")
    for component in ("text_encoder", "tokenizer"):
        shutil.copytree(args.assets / component, pipeline / component)
    if args.large:
        run(args.zoetrope, "init", "wan2.1-i2v-14b", args.work / "large", "--components", "image_encoder")
        for component in ("image_encoder", "image_processor"):
            shutil.rmtree(pipeline / component)
            shutil.move(args.work / "large" / component, pipeline / component)
    videos.mkdir()
    frames = write_video(videos / "noise.mkv")
    (videos / "noise.txt").write_text("noise")
    keyboard = np.arange(len(frames) * 3).reshape(-1, 3) % 5
    mouse = np.stack([np.arange(len(frames)) / 8, -np.arange(len(frames)) / 4], axis=1)
    np.savez(videos / "noise.npz", keyboard=keyboard, mouse=mouse)
    # What is on screen at k / FPS.
    shown = [k * SOURCE_FPS // FPS for k in range(FRAMES)]
    expected = expected_features(pipeline, frames[shown])
    for data_type in ("i2v", "matrixgame2"):
        out = args.work / data_type
        run(args.zoetrope, "preprocess", videos, "-o", out, "-m", pipeline, "--data-type", data_type, "--fps", FPS,
            "--num-frames", FRAMES, "--height", HEIGHT, "--width", WIDTH, "--device", "cpu")
        (row,) = pq.read_table(out / "worker_0" / "data_chunk_0.parquet").to_pylist()
        if (row["width"], row["height"], row["num_frames"]) != (WIDTH, HEIGHT, (FRAMES - 1) // 4 + 1):
            raise SystemExit(f"{data_type}: wrong sizes in {row['width']}, {row['height']}, {row['num_frames']}")
        for name, value in expected.items():
            compare(f"{data_type}: {name}", tensor_of(row, name), value)
        if data_type == "matrixgame2":
            compare("keyboard_cond", tensor_of(row, "keyboard_cond"), torch.from_numpy(keyboard[shown]).float())
            compare("mouse_cond", tensor_of(row, "mouse_cond"), torch.from_numpy(mouse[shown]).float())


if __name__ == "__main__":
    main()
