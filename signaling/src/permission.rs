//! Who may do what: the one permission table. `docs/protocol.md` (Roles and permissions) says the same in words.
//!
//! [`permissions`] is what the lesson machine tests each request against, [`media_policy`] what the media machine
//! tests each packet against. Both come from [`audience`], so that the two cannot disagree.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sfu::io::{Importance, PeerPolicy};
use sfu::media::{Audience, Source};

use crate::lesson::RoomSettings;
pub use crate::role::Role;

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
    Record,
    End,
}

impl Role {
    /// The class of the media machine that this role belongs to.
    pub const fn class(self) -> Audience {
        match self {
            Role::Teacher | Role::Assistant => STAFF,
            Role::Student => STUDENTS,
            Role::Observer => OBSERVERS,
            Role::Recorder => RECORDERS,
        }
    }
}

/// Teachers and assistants.
pub const STAFF: Audience = Audience(1);
/// Students, with the floor or without.
pub const STUDENTS: Audience = Audience(1 << 1);
/// Observers.
pub const OBSERVERS: Audience = Audience(1 << 2);
/// Recorders.
pub const RECORDERS: Audience = Audience(1 << 3);
/// The recording that this server makes. It is nobody's class: no participant receives what only it may have.
pub const ARCHIVE: Audience = Audience(1 << 4);
/// All classes of participants.
pub const CLASSES: [Audience; 4] = [STAFF, STUDENTS, OBSERVERS, RECORDERS];

/// Everybody in the room.
const ALL: Audience = STAFF.with(STUDENTS).with(OBSERVERS).with(RECORDERS);
/// All but students: where students do not see students.
const NOT_STUDENTS: Audience = STAFF.with(OBSERVERS).with(RECORDERS);
/// Teachers and assistants, and the recording: an observer's camera.
const STAFF_ONLY: Audience = STAFF.with(RECORDERS);

/// Who sees or hears what a participant sends from this source; [`Audience::NOBODY`] when it may not send it at all.
pub fn audience(role: Role, settings: &RoomSettings, has_floor: bool, source: Source) -> Audience {
    // What a student who is shown without the floor is shown to.
    let without_floor = if settings.students_see_students { ALL } else { NOT_STUDENTS };
    let allowed = |setting: bool| if setting { without_floor } else { Audience::NOBODY };
    match (role, source) {
        (Role::Teacher | Role::Assistant, _) => ALL,
        (Role::Student, _) if has_floor => ALL,
        (Role::Student, Source::Microphone) => allowed(settings.student_microphones),
        (Role::Student, Source::Camera) if settings.student_cameras => without_floor,
        (Role::Student, Source::Camera) => NOT_STUDENTS,
        (Role::Student, Source::Screen | Source::ScreenAudio | Source::Desktop) => {
            allowed(settings.student_screens)
        }
        (Role::Observer, Source::Camera) => STAFF_ONLY,
        (Role::Observer | Role::Recorder, _) => Audience::NOBODY,
    }
}

/// The permission to publish a source.
pub const fn to_publish(source: Source) -> Permission {
    match source {
        Source::Microphone => Permission::PublishMicrophone,
        Source::Camera => Permission::PublishCamera,
        Source::Screen => Permission::PublishScreen,
        Source::ScreenAudio => Permission::PublishScreenAudio,
        Source::Desktop => Permission::PublishDesktop,
    }
}

/// All that a participant may do now.
pub fn permissions(role: Role, settings: &RoomSettings, has_floor: bool) -> BTreeSet<Permission> {
    use Permission::{Chat, End, GiveFloor, MuteOthers, RaiseHand, Record, Remove, SetRole, Settings};
    let mut permissions: BTreeSet<Permission> = Source::ALL
        .into_iter()
        .filter(|source| audience(role, settings, has_floor, *source) != Audience::NOBODY)
        .map(to_publish)
        .collect();
    match role {
        Role::Teacher => {
            permissions.extend([Chat, GiveFloor, MuteOthers, Remove, SetRole, Settings, Record, End])
        }
        Role::Assistant => permissions.extend([Chat, GiveFloor, MuteOthers, Remove, Settings, Record]),
        Role::Student => {
            permissions.insert(RaiseHand);
            if settings.chat {
                permissions.insert(Chat);
            }
        }
        Role::Observer | Role::Recorder => {}
    }
    permissions
}

/// Whether a recording keeps what somebody who may be recorded sends from this source.
pub fn is_recorded(role: Role, settings: &RoomSettings, has_floor: bool, source: Source) -> bool {
    match (role, source) {
        (Role::Teacher | Role::Assistant, _) => true,
        (Role::Student, Source::Camera) => has_floor || settings.record_student_cameras,
        (Role::Student, _) => true,
        (Role::Observer | Role::Recorder, _) => false,
    }
}

/// What the media machine lets a participant send, see and hear. `may_be_recorded` is whether it has agreed to
/// ([`crate::lesson::LessonState::may_be_recorded`]).
pub fn media_policy(
    role: Role,
    settings: &RoomSettings,
    has_floor: bool,
    may_be_recorded: bool,
) -> PeerPolicy {
    let reaches = |source| {
        let audience = audience(role, settings, has_floor, source);
        let kept = may_be_recorded && is_recorded(role, settings, has_floor, source);
        if kept && audience != Audience::NOBODY { audience.with(ARCHIVE) } else { audience }
    };
    PeerPolicy {
        class: role.class(),
        publish: Source::ALL.map(reaches),
        always_heard: role == Role::Teacher || (role == Role::Student && has_floor),
        importance: match role {
            Role::Teacher | Role::Assistant => Importance::Teacher,
            Role::Student if has_floor => Importance::CalledOn,
            Role::Student | Role::Observer | Role::Recorder => Importance::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lesson::Preset;

    fn any_settings() -> impl Strategy<Value = RoomSettings> {
        let presets = prop_oneof![Just(Preset::Tutoring), Just(Preset::Lecture), Just(Preset::Seminar)];
        (presets, any::<[bool; 8]>()).prop_map(|(preset, bits)| RoomSettings {
            locked: bits[0],
            chat: bits[1],
            student_microphones: bits[2],
            student_cameras: bits[3],
            student_screens: bits[4],
            students_see_students: bits[5],
            record_automatically: bits[6],
            record_student_cameras: bits[7],
            ..RoomSettings::from_preset(preset, "")
        })
    }

    fn any_role() -> impl Strategy<Value = Role> {
        proptest::sample::select(&Role::ALL[..])
    }

    fn reaches(publisher: PeerPolicy, source: Source, viewer: Role) -> bool {
        publisher.publish[source.index()].meets(viewer.class())
    }

    fn contains(big: Audience, small: Audience) -> bool {
        big.with(small) == big
    }

    proptest! {
        #[test]
        fn the_table_and_the_policy_agree(role in any_role(), settings in any_settings(), floor: bool) {
            let permissions = permissions(role, &settings, floor);
            let policy = media_policy(role, &settings, floor, false);
            for source in Source::ALL {
                let may = permissions.contains(&to_publish(source));
                prop_assert_eq!(may, policy.publish[source.index()] != Audience::NOBODY);
                prop_assert!(contains(ALL, policy.publish[source.index()]));
                // Whoever is sent at all is seen by the teacher and recorded.
                prop_assert!(!may || contains(policy.publish[source.index()], STAFF_ONLY));
            }
            prop_assert_eq!(policy.class.0.count_ones(), 1);
        }

        #[test]
        fn the_recording_has_what_is_sent_and_agreed_to(role in any_role(), settings in any_settings(), floor: bool) {
            let without = media_policy(role, &settings, floor, false);
            let with = media_policy(role, &settings, floor, true);
            for source in Source::ALL {
                let (without, with) = (without.publish[source.index()], with.publish[source.index()]);
                prop_assert!(!without.meets(ARCHIVE));
                let kept = without != Audience::NOBODY && is_recorded(role, &settings, floor, source);
                prop_assert_eq!(with, if kept { without.with(ARCHIVE) } else { without });
                prop_assert!(!(role == Role::Observer && with.meets(ARCHIVE)));
            }
            prop_assert!(CLASSES.into_iter().all(|class| !class.meets(ARCHIVE)));
        }

        #[test]
        fn the_observer_never_speaks(settings in any_settings(), floor: bool) {
            let permissions = permissions(Role::Observer, &settings, floor);
            prop_assert_eq!(permissions.into_iter().collect::<Vec<_>>(), [Permission::PublishCamera]);
            let policy = media_policy(Role::Observer, &settings, floor, false);
            for viewer in [Role::Student, Role::Observer] {
                prop_assert!(!reaches(policy, Source::Camera, viewer));
            }
            prop_assert!(!policy.always_heard);
        }

        #[test]
        fn the_observer_and_the_recorder_see_what_students_send(settings in any_settings(), floor: bool) {
            let policy = media_policy(Role::Student, &settings, floor, false);
            for source in Source::ALL {
                let sent = policy.publish[source.index()] != Audience::NOBODY;
                prop_assert_eq!(reaches(policy, source, Role::Observer), sent);
                prop_assert_eq!(reaches(policy, source, Role::Recorder), sent);
            }
        }

        #[test]
        fn a_recorder_sends_nothing_and_may_nothing(settings in any_settings(), floor: bool) {
            prop_assert!(permissions(Role::Recorder, &settings, floor).is_empty());
            prop_assert_eq!(media_policy(Role::Recorder, &settings, floor, false).publish, [Audience::NOBODY; 5]);
        }

        #[test]
        fn the_floor_only_adds(role in any_role(), settings in any_settings()) {
            let (without, with) = (permissions(role, &settings, false), permissions(role, &settings, true));
            prop_assert!(without.is_subset(&with));
            let (without, with) = (media_policy(role, &settings, false, false), media_policy(role, &settings, true, false));
            for source in Source::ALL {
                prop_assert!(contains(with.publish[source.index()], without.publish[source.index()]));
            }
            prop_assert!(with.always_heard || !without.always_heard);
        }

        #[test]
        fn an_assistant_may_all_that_a_teacher_may_but_end_and_set_role(settings in any_settings(), floor: bool) {
            let mut teacher = permissions(Role::Teacher, &settings, floor);
            prop_assert!(teacher.remove(&Permission::End) && teacher.remove(&Permission::SetRole));
            prop_assert_eq!(permissions(Role::Assistant, &settings, floor), teacher);
        }

        #[test]
        fn a_student_moderates_nothing(settings in any_settings(), floor: bool) {
            let permissions = permissions(Role::Student, &settings, floor);
            for permission in [Permission::GiveFloor, Permission::MuteOthers, Permission::Remove, Permission::SetRole,
                Permission::Settings, Permission::Record, Permission::End] {
                prop_assert!(!permissions.contains(&permission));
            }
        }

        #[test]
        fn settings_only_widen(settings in any_settings()) {
            let open = RoomSettings { student_microphones: true, student_cameras: true, student_screens: true,
                students_see_students: true, ..settings.clone() };
            for source in Source::ALL {
                prop_assert!(contains(audience(Role::Student, &open, false, source),
                    audience(Role::Student, &settings, false, source)));
            }
        }
    }

    #[test]
    fn a_lecture_hears_and_shows_a_student_only_with_the_floor() {
        let lecture = RoomSettings::from_preset(Preset::Lecture, "");
        let without = media_policy(Role::Student, &lecture, false, false);
        assert_eq!(without.publish[Source::Microphone.index()], Audience::NOBODY);
        assert!(reaches(without, Source::Camera, Role::Teacher));
        assert!(!reaches(without, Source::Camera, Role::Student));
        let with = media_policy(Role::Student, &lecture, true, false);
        assert!(with.always_heard);
        for role in Role::ALL {
            assert!(reaches(with, Source::Microphone, role) && reaches(with, Source::Camera, role));
            assert!(reaches(media_policy(Role::Teacher, &lecture, false, false), Source::Screen, role));
        }
    }

    #[test]
    fn tutoring_and_seminar_let_everybody_send_all_to_all() {
        for preset in [Preset::Tutoring, Preset::Seminar] {
            let settings = RoomSettings::from_preset(preset, "");
            for role in [Role::Teacher, Role::Assistant, Role::Student] {
                assert_eq!(media_policy(role, &settings, false, false).publish, [ALL; 5]);
            }
        }
    }
}
