"""Everything around the language model: captions in, prompts out, and the vLLM server between them."""
