//! The web app is embedded from `web/dist`. A build without it must work too (the server then says so in its pages), and
//! the macro that embeds wants the folder to be there.

fn main() {
    println!("cargo:rerun-if-changed=web/dist");
    let folder = std::path::Path::new("web/dist");
    if let Err(error) = std::fs::create_dir_all(folder) {
        println!("cargo:warning=cannot make {}: {error}", folder.display());
    }
}
