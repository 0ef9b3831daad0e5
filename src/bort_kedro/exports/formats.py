"""What exports are called; light, for what is imported before every command."""

# Written last; without it the folder of an export is not whole.
MANIFEST = "export.json"
FORMATS = ("onnx", "onnx_int8", "openvino_int8")
