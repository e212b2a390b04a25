"""What a person looks at to judge a registration: pictures and a page in one file."""
