"""Loads and decodes image data sets, draws from them, and writes prompts for their classes."""

from typing import TYPE_CHECKING

from pyg_graphadapter.lazy import lazy_names

if TYPE_CHECKING:
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
    from pyg_graphadapter.data.descriptions import Descriptions
    from pyg_graphadapter.data.draw import base_and_new, few_shot
    from pyg_graphadapter.data.draw_file import Draw, load_draw, make_draw, save_draw
    from pyg_graphadapter.data.load import list_images, load_images, read_images
    from pyg_graphadapter.data.reading import ImageRow, ImageSet, Reading, ReadOptions
    from pyg_graphadapter.data.summary import summary_lines
    from pyg_graphadapter.data.templates import (
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
    "Descriptions",
    "Draw",
    "ImageRow",
    "ImageSet",
    "ReadOptions",
    "Reading",
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
    "read_images",
    "save_draw",
    "summary_lines",
]

# Prompts are filled without loading datasets:
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BENCHMARKS": "benchmarks",
        "Descriptions": "descriptions",
        "Draw": "draw_file",
        "FEW_SHOT_BENCHMARKS": "benchmarks",
        "IMAGENET_TEMPLATES": "templates",
        "ImageRow": "reading",
        "ImageSet": "reading",
        "MAX_PIXELS": "decode",
        "ReadOptions": "reading",
        "Reading": "reading",
        "SHIFTED_BENCHMARKS": "benchmarks",
        "TEMPLATES": "templates",
        "UnreadableImageError": "decode",
        "base_and_new": "draw",
        "benchmark": "benchmarks",
        "check_benchmarks": "benchmarks",
        "check_templates": "templates",
        "decode_image": "decode",
        "few_shot": "draw",
        "fill": "templates",
        "image_bytes": "decode",
        "image_name": "decode",
        "list_images": "load",
        "load_benchmark": "benchmarks",
        "load_draw": "draw_file",
        "load_images": "load",
        "make_draw": "draw_file",
        "prompts": "templates",
        "read_images": "load",
        "save_draw": "draw_file",
        "summary_lines": "summary",
    },
)
