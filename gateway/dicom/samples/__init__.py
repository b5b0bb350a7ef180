"""Images that never were: a chest to try models on, and one small image in each transfer syntax."""
