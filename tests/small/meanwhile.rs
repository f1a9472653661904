//! A store in the middle of whose use somebody else does something.

use std::sync::{Arc, Mutex};

use esker::store::{Entry, Name, ReadUnit, Store, StoreError};

/// What is done there.
type Deed = Box<dyn FnOnce() + Send>;

/// Does something, once, in the middle of what somebody else does: before his `nth` call of the store.
pub struct Meanwhile {
    inner: Arc<dyn Store>,
    left: Mutex<Option<(u64, Deed)>>,
}

impl Meanwhile {
    pub fn new(inner: Arc<dyn Store>, nth: u64, what: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(Self { inner, left: Mutex::new(Some((nth, Box::new(what)))) })
    }

    /// Was it never reached?
    pub fn is_left(&self) -> bool {
        self.left.lock().unwrap().is_some()
    }

    fn step(&self) -> &dyn Store {
        let now = {
            let mut left = self.left.lock().unwrap();
            match &mut *left {
                Some((0, _)) => left.take().map(|(_, what)| what),
                Some((n, _)) => {
                    *n -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some(what) = now {
            what();
        }
        &*self.inner
    }
}

impl Store for Meanwhile {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn create(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.step().create(name, parts)
    }
    fn replace(&self, name: &Name, parts: &[&[u8]]) -> Result<(), StoreError> {
        self.step().replace(name, parts)
    }
    fn get(&self, name: &Name, size_max: u64) -> Result<Vec<u8>, StoreError> {
        self.step().get(name, size_max)
    }
    fn get_range(&self, name: &Name, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.step().get_range(name, offset, length)
    }
    fn size(&self, name: &Name) -> Result<u64, StoreError> {
        self.step().size(name)
    }
    fn list(&self, folder: &str, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.step().list(folder, each)
    }
    fn delete(&self, name: &Name) -> Result<(), StoreError> {
        self.step().delete(name)
    }
    fn create_place(&self) -> Result<(), StoreError> {
        self.step().create_place()
    }
    fn read_unit(&self) -> ReadUnit {
        self.inner.read_unit()
    }
}
