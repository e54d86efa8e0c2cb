//! What comes to the proxy's door, and what a service answers to a new node: cut anywhere it is the same, and a request
//! once known to be none of ours stays so.
// max_len=1024
#![no_main]

use rustbalance::proto::join::http::{LINE_BYTES, Reading, read_answer, read_request, recognise};

rustbalance_fuzz::target!(|data: &[u8]| {
    let whole = recognise(data);
    for cut in 0..data.len().min(LINE_BYTES) {
        match recognise(&data[..cut]) {
            Reading::More => {}
            Reading::Done(_) => panic!("known by less than its line"),
            Reading::Other => assert_eq!(whole, Reading::Other, "cut at {cut}"),
        }
    }
    if let Reading::Done(body) = read_request(data) {
        assert!(body.end <= data.len());
        for cut in body.end..data.len() {
            assert_eq!(read_request(&data[..cut]), Reading::Done(body.clone()), "cut at {cut}");
        }
    }
    if let Reading::Done(answer) = read_answer(data, false) {
        assert_eq!(read_answer(data, true), Reading::Done(answer));
    }
});
