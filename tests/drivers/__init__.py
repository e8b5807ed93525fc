"""What tests drive: the command line, one engine, worker processes, topics and brokers."""
