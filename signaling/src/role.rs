//! Who somebody is in a class. What a role may do is in [`permission`](crate::permission).

use serde::{Deserialize, Serialize};

/// What a participant is in the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Leads the class.
    Teacher,
    /// Helps the teacher.
    Assistant,
    /// Learns.
    Student,
    /// A parent or an inspector: sees, is seen by the teacher, does not speak.
    Observer,
    /// Receives everything, is not shown.
    Recorder,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] =
        [Role::Teacher, Role::Assistant, Role::Student, Role::Observer, Role::Recorder];

    /// Teachers and assistants.
    pub const fn is_staff(self) -> bool {
        matches!(self, Role::Teacher | Role::Assistant)
    }

    /// Whether someone of this role may mute, remove or silence someone of the other: an assistant does not touch a teacher.
    pub const fn may_act_on(self, other: Role) -> bool {
        match self {
            Role::Teacher => true,
            Role::Assistant => !matches!(other, Role::Teacher),
            Role::Student | Role::Observer | Role::Recorder => false,
        }
    }
}
