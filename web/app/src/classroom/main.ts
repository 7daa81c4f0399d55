import '../ui/styles/base.css';

import { createApp } from 'vue';

import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import { readLink } from './link';
import RoomPage from './RoomPage.vue';

startTheme();
startI18n();
createApp(RoomPage, { link: readLink(new URL(location.href), Date.now()) }).mount('#app');
// A link with another token pasted over this one is another class or another person.
window.addEventListener('hashchange', () => location.reload());
