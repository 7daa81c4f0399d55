//! Who may do what: the one permission table.

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

/// Something that a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of the protocol's requests")]
pub enum Permission {
    PublishMicrophone,
    PublishCamera,
    PublishScreen,
    PublishScreenAudio,
    PublishDesktop,
    Chat,
    RaiseHand,
    GiveFloor,
    MuteOthers,
    Remove,
    SetRole,
    Settings,
    End,
}
