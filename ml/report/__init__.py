"""What a team looks at: the page of an evaluation, the page across days, and their pictures."""
