"""Tables as files, written from blocks of rows so that the whole is never in memory."""
