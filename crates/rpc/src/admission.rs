//! How many clients there may be, and of whom.
//!
//! Administrators have an allowance of their own: whatever ordinary users do, root gets in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{ADMIN_CLIENTS_MAX, ORDINARY_CLIENTS_MAX, USER_CLIENTS_MAX};

/// The clients that are connected now.
#[derive(Debug)]
pub(crate) struct Admission {
    own_uid: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    admins: usize,
    ordinary: usize,
    by_user: BTreeMap<u32, usize>,
}

/// One client's place; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    uid: u32,
}

impl Admission {
    /// Nobody is connected; `own_uid` is whom the daemon runs as.
    pub(crate) fn new(own_uid: u32) -> Arc<Admission> {
        Arc::new(Admission {
            own_uid,
            counts: Mutex::default(),
        })
    }

    fn is_admin(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own_uid
    }

    /// A place for a client of this user, or the reason why there is none.
    pub(crate) fn enter(self: &Arc<Admission>, uid: u32) -> Result<Place, String> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_admin(uid) {
            check(counts.admins, ADMIN_CLIENTS_MAX, "the administrators have")?;
            counts.admins += 1;
        } else {
            let own = counts.by_user.get(&uid).copied().unwrap_or(0);
            check(own, USER_CLIENTS_MAX, &format!("user {uid} has"))?;
            check(
                counts.ordinary,
                ORDINARY_CLIENTS_MAX,
                "all users together have",
            )?;
            counts.ordinary += 1;
            counts.by_user.insert(uid, own + 1);
        }
        Ok(Place {
            admission: self.clone(),
            uid,
        })
    }
}

fn check(present: usize, max: usize, who: &str) -> Result<(), String> {
    match present < max {
        true => Ok(()),
        false => Err(format!(
            "too many active clients: {who} {present} connections open, which is the limit; \
             close some of them"
        )),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let admission = &self.admission;
        let mut counts = admission
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if admission.is_admin(self.uid) {
            counts.admins -= 1;
            return;
        }
        counts.ordinary -= 1;
        if let Some(own) = counts.by_user.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                counts.by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_takes_everything_keeps_nobody_else_out() {
        let admission = Admission::new(0);
        let mut places = Vec::new();
        let refusal = loop {
            match admission.enter(1000) {
                Ok(place) => places.push(place),
                Err(reason) => break reason,
            }
        };
        assert_eq!(places.len(), USER_CLIENTS_MAX);
        assert!(refusal.contains("user 1000"), "{refusal}");
        assert!(admission.enter(1001).is_ok());
        assert!(admission.enter(0).is_ok());
        places.pop();
        assert!(admission.enter(1000).is_ok());
    }

    #[test]
    fn all_users_together_keep_no_administrator_out() {
        let admission = Admission::new(64055);
        let mut places = Vec::new();
        for uid in 1000.. {
            match admission.enter(uid) {
                Ok(place) => places.push(place),
                Err(_) => break,
            }
        }
        assert_eq!(places.len(), ORDINARY_CLIENTS_MAX);
        assert!(admission.enter(0).is_ok());
        assert!(admission.enter(64055).is_ok());
        places.clear();
        let counts = admission.counts.lock().unwrap();
        assert_eq!((counts.admins, counts.ordinary), (0, 0));
        assert!(counts.by_user.is_empty());
    }
}
