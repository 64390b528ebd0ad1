"""The wire: messages per endpoint, framing by lines, the frame that proves an answer is ours, problem documents."""
