//! Whether a bucket does what recordings want of it: `lectern doctor` tries it before a class.

use std::error::Error;
use std::time::{Duration, Instant};

use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::bucket::{self, Bucket, BucketConfig};
use crate::secrets::random_hex;

/// Longest time for a request to be tried again, so that one refusal leaves time for the next.
const PATIENCE: Duration = Duration::from_secs(5);
/// For taking away what was written, after something else has failed.
const TIDY: Duration = Duration::from_secs(3);
/// Longest part of an answer that is shown.
const SHOWN_CHARS: usize = 300;

/// What a bucket is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing yet: the settings are looked at.
    Open,
    /// Write a small file.
    Write,
    /// Read it back.
    Read,
    /// Say what is there.
    List,
    /// Remove it.
    Remove,
}

/// Why it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The settings make no request.
    Settings(String),
    /// No connection.
    Unreachable(String),
    /// No answer in so long.
    Slow(Duration),
    /// It finds this machine's clock wrong.
    Clock,
    /// It does not know the key's name.
    AccessKey,
    /// The key is not that of the name.
    Secret,
    /// It is not there.
    NoBucket,
    /// It is in another region.
    Region,
    /// The key has no right to do that.
    Denied,
    /// What it gives is not what was written.
    Differs,
    /// What it says, in its own words.
    Other(String),
}

/// What a bucket does not do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTrouble {
    /// What it was asked.
    pub doing: Doing,
    /// Why it does not.
    pub cause: Cause,
    /// A file that could not be removed again.
    pub left: Option<String>,
}

/// Writes, reads, lists and removes a small file below the prefix. Gives how long that took; it takes hardly longer than `within`.
///
/// # Errors
/// What it does not do, and why.
pub async fn try_bucket(config: &BucketConfig, within: Duration) -> Result<Duration, BucketTrouble> {
    let begun = Instant::now();
    let deadline = Deadline::now() + within;
    let trouble = |doing, cause| BucketTrouble { doing, cause, left: None };
    let bucket = Bucket::open(config, PATIENCE.min(within))
        .map_err(|error| trouble(Doing::Open, Cause::Settings(shown(&error.to_string()))))?;
    // Beside the recordings' folders, among which it is never counted.
    let path = bucket.beside(&format!("lectern-doctor-{}", random_hex::<8>()));
    let content = random_hex::<32>().into_bytes();
    let write = timeout_at(deadline, bucket.put(&path, content.clone()));
    answered(write.await, within).map_err(|cause| trouble(Doing::Write, cause))?;
    let mut tried = look(&bucket, &path, &content, deadline, within).await;
    if tried.is_ok() {
        let removed = answered(timeout_at(deadline, bucket.delete(&path)).await, within);
        tried = removed.map_err(|cause| trouble(Doing::Remove, cause));
        if let Err(trouble) = &mut tried {
            trouble.left = Some(path.to_string());
        }
    } else if let Err(trouble) = &mut tried
        && !matches!(timeout(TIDY, bucket.delete(&path)).await, Ok(Ok(())))
    {
        trouble.left = Some(path.to_string());
    }
    tried.map(|()| begun.elapsed())
}

/// Reads the file and finds it among what is there.
async fn look(
    bucket: &Bucket,
    path: &Path,
    content: &[u8],
    deadline: Deadline,
    within: Duration,
) -> Result<(), BucketTrouble> {
    let trouble = |doing, cause| BucketTrouble { doing, cause, left: None };
    let read = answered(timeout_at(deadline, bucket.get(path)).await, within);
    if read.map_err(|cause| trouble(Doing::Read, cause))?.as_deref() != Some(content) {
        return Err(trouble(Doing::Read, Cause::Differs));
    }
    let listed = answered(timeout_at(deadline, bucket.has_beside(path)).await, within);
    match listed.map_err(|cause| trouble(Doing::List, cause))? {
        true => Ok(()),
        false => Err(trouble(Doing::List, Cause::Differs)),
    }
}

fn answered<T>(
    answer: Result<bucket::Result<T>, tokio::time::error::Elapsed>,
    within: Duration,
) -> Result<T, Cause> {
    match answer {
        Ok(result) => result.map_err(|error| cause(&error)),
        Err(_) => Err(Cause::Slow(within)),
    }
}

/// By what S3 calls it ("Error responses" of its API reference), else by the status, else by what the connection says.
fn cause(error: &(dyn Error + 'static)) -> Cause {
    let chain: Vec<&(dyn Error + 'static)> =
        std::iter::successors(Some(error), |error| (*error).source()).collect();
    let said = chain.iter().map(|error| error.to_string()).find(|text| text.contains("<Code>"));
    let code = said.as_deref().and_then(|said| element(said, "Code"));
    match code {
        Some("RequestTimeTooSkewed" | "RequestExpired") => return Cause::Clock,
        // The last is versitygw's.
        Some("InvalidAccessKeyId" | "InvalidClientTokenId" | "XAdminUserNotFound") => {
            return Cause::AccessKey;
        }
        Some("SignatureDoesNotMatch") => return Cause::Secret,
        Some("NoSuchBucket") => return Cause::NoBucket,
        Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") => {
            return Cause::Region;
        }
        Some("AccessDenied" | "AllAccessDisabled" | "MethodNotAllowed") => return Cause::Denied,
        Some(code) => {
            let message = said.as_deref().and_then(|said| element(said, "Message")).unwrap_or_default();
            return Cause::Other(shown(&format!("{code}: {message}")));
        }
        None => {}
    }
    if let Some(http) = chain.iter().find_map(|error| error.downcast_ref::<HttpError>()) {
        // The innermost says most: a name that is not known, a refusal, a certificate.
        let reason = shown(&chain.last().map(ToString::to_string).unwrap_or_default());
        return match http.kind() {
            HttpErrorKind::Connect | HttpErrorKind::Timeout => Cause::Unreachable(reason),
            _ => Cause::Other(reason),
        };
    }
    match chain.iter().find_map(|error| error.downcast_ref::<object_store::Error>()) {
        Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
            Cause::Denied
        }
        // Of a file that is written, nothing else can be missing.
        Some(object_store::Error::NotFound { .. }) => Cause::NoBucket,
        // The innermost is without what was asked and how often.
        _ => Cause::Other(shown(&chain.last().map(ToString::to_string).unwrap_or_default())),
    }
}

/// What stands in the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

/// On one line, and not without end: a proxy may answer with a page.
fn shown(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.trim_end_matches(':').len());
    if let Some((at, _)) = line.char_indices().nth(SHOWN_CHARS) {
        line.truncate(at);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// As `object_store` wraps what a server has answered.
    fn refused(status: u16, body: &str) -> object_store::Error {
        let source = format!("Server returned non-2xx status code: {status}: {body}").into();
        let path = "school/probe".to_owned();
        match status {
            401 => object_store::Error::Unauthenticated { path, source },
            403 => object_store::Error::PermissionDenied { path, source },
            404 => object_store::Error::NotFound { path, source },
            _ => object_store::Error::Generic { store: "S3", source },
        }
    }

    fn xml(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Said\n so.</Message><RequestId>7</RequestId></Error>"
        )
    }

    #[test]
    fn what_a_bucket_says_is_understood() {
        for (status, code, expected) in [
            (403, "RequestTimeTooSkewed", Cause::Clock),
            (403, "InvalidAccessKeyId", Cause::AccessKey),
            (404, "XAdminUserNotFound", Cause::AccessKey),
            (403, "SignatureDoesNotMatch", Cause::Secret),
            (404, "NoSuchBucket", Cause::NoBucket),
            (301, "PermanentRedirect", Cause::Region),
            (400, "AuthorizationHeaderMalformed", Cause::Region),
            (403, "AccessDenied", Cause::Denied),
            (400, "EntityTooSmall", Cause::Other("EntityTooSmall: Said so.".into())),
        ] {
            assert_eq!(cause(&refused(status, &xml(code))), expected, "{code}");
        }
        // Without the words of S3: a proxy, or something else altogether.
        assert_eq!(cause(&refused(403, "<html>Forbidden</html>")), Cause::Denied);
        assert_eq!(cause(&refused(401, "")), Cause::Denied);
        assert_eq!(cause(&refused(404, "")), Cause::NoBucket);
        let Cause::Other(page) = cause(&refused(500, &format!("<html>\n{}é", "é".repeat(1000)))) else {
            panic!("nothing is known of it")
        };
        assert!(page.contains("500: <html> é") && page.chars().count() == SHOWN_CHARS + 1, "{page}");
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused, says the system");
        let source = HttpError::new(HttpErrorKind::Connect, io).into();
        let unreachable = cause(&object_store::Error::Generic { store: "S3", source });
        assert_eq!(unreachable, Cause::Unreachable("refused, says the system".into()));
    }

    #[tokio::test]
    async fn a_bucket_that_does_all_of_it_has_nothing_left_in_it() {
        let bucket = Bucket::of(std::sync::Arc::new(InMemory::new()));
        let path = bucket.beside("probe");
        bucket.put(&path, b"content".to_vec()).await.unwrap();
        let (within, deadline) = (Duration::from_secs(5), Deadline::now() + Duration::from_secs(5));
        assert_eq!(look(&bucket, &path, b"content", deadline, within).await, Ok(()));
        let other = look(&bucket, &path, b"another", deadline, within).await.unwrap_err();
        assert_eq!((other.doing, other.cause), (Doing::Read, Cause::Differs));
        assert!(bucket.ids().await.unwrap().is_empty(), "it is no recording");
        bucket.delete(&path).await.unwrap();
        assert!(!bucket.has_beside(&path).await.unwrap());
    }

    /// Whoever takes connections and says nothing holds nobody up.
    #[tokio::test]
    async fn silence_ends_in_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = BucketConfig {
            bucket: "school".into(),
            endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
            region: "us-east-1".into(),
            access_key: "name".into(),
            secret_key: crate::config::Secret::new("key"),
            prefix: String::new(),
            path_style: true,
            local_days: 0,
        };
        let begun = Instant::now();
        let within = Duration::from_millis(300);
        let trouble = try_bucket(&config, within).await.unwrap_err();
        assert_eq!(trouble, BucketTrouble { doing: Doing::Write, cause: Cause::Slow(within), left: None });
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
