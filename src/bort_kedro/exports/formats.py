"""What exports are called; light, for what is imported before every command."""

# Written last; without it the folder of an export is not whole.
MANIFEST = "export.json"
# The folder of `save_pretrained`, which needs no runtime but PyTorch, and what all others are held against.
PYTORCH = "pytorch"
FORMATS = ("onnx", "onnx_int8", "openvino_int8")
