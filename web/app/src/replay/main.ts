import '../ui/styles/base.css';

import { createApp } from 'vue';

import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import { readReplayLink } from './link';
import ReplayPage from './ReplayPage.vue';

startTheme();
startI18n();
createApp(ReplayPage, { link: readReplayLink(new URL(location.href)) }).mount('#app');
// A link to another time or with another token pasted over this one.
window.addEventListener('hashchange', () => location.reload());
