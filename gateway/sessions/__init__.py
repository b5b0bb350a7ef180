"""Click sessions: an inference that stays open, and shows what each click changes."""
