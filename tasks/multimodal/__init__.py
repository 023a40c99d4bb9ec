"""Questions on images, asked by LLaVA-1.5's protocol and scored by the official rules."""
