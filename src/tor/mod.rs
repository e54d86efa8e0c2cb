//! The control protocol of C tor, and the consensus documents it hands out.
