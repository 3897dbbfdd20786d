"""Where and when an image was taken, told by the image itself."""
