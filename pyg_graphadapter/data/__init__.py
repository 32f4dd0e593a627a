"""Images as data sets of Hugging Face: loaded, decoded, drawn from, and named in prompts."""

from pyg_graphadapter.data.benchmarks import (
    BENCHMARKS,
    FEW_SHOT_BENCHMARKS,
    SHIFTED_BENCHMARKS,
    benchmark,
    check_benchmarks,
    load_benchmark,
)
from pyg_graphadapter.data.decode import (
    MAX_PIXELS,
    UnreadableImageError,
    decode_image,
    image_bytes,
    image_name,
)
from pyg_graphadapter.data.draw import base_and_new, few_shot
from pyg_graphadapter.data.draw_file import Draw, load_draw, make_draw, save_draw
from pyg_graphadapter.data.load import list_images, load_images
from pyg_graphadapter.data.prompts import (
    IMAGENET_TEMPLATES,
    TEMPLATES,
    check_templates,
    fill,
    prompts,
)

__all__ = [
    "BENCHMARKS",
    "FEW_SHOT_BENCHMARKS",
    "IMAGENET_TEMPLATES",
    "MAX_PIXELS",
    "SHIFTED_BENCHMARKS",
    "TEMPLATES",
    "Draw",
    "UnreadableImageError",
    "base_and_new",
    "benchmark",
    "check_benchmarks",
    "check_templates",
    "decode_image",
    "few_shot",
    "fill",
    "image_bytes",
    "image_name",
    "list_images",
    "load_benchmark",
    "load_draw",
    "load_images",
    "make_draw",
    "prompts",
    "save_draw",
]
