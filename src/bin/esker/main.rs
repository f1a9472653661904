//! esker
fn main(){}
