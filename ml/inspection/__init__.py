"""What a trained model leans on and what its parts do, found by trying it out on a day's samples."""
