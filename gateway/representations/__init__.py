"""An answer in other forms than its parts: files, pictures, JSON alone."""
